"""What stands over one command of `run` or `exec`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from supervisor import syscalls
from supervisor.orders import Exec, RunApp

APP_NAMESPACES: Final = syscalls.CLONE_NEWNET | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS


def run(order: RunApp | Exec, fds: list[int], done: Callable[[], None]) -> None:
    """Run the command, and end with it."""
    raise NotImplementedError
