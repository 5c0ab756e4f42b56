"""Attacks on processes outside."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

from tests.attack.registry import (
    HIDDEN,
    PTRACE_SEIZE,
    REFUSED,
    Target,
    attack,
    check,
    libc,
)


@attack(*REFUSED)
def kill_a_process_of_the_host(target: Target) -> None:
    os.kill(target.victim, signal.SIGKILL)


@attack(*REFUSED)
def kill_by_pidfd(target: Target) -> None:
    signal.pidfd_send_signal(os.pidfd_open(target.victim), signal.SIGKILL)


@attack(*REFUSED)
def signal_the_supervisor(target: Target) -> None:
    os.kill(target.supervisor, signal.SIGWINCH)


@attack(*REFUSED)
def signal_the_other_manager(target: Target) -> None:
    os.kill(target.other, signal.SIGWINCH)


@attack(errno.EPERM, possible=False)
def kill_everything(_target: Target) -> None:
    """The kernel reports success when there was anything that could have been tried: whether all live is checked."""
    os.kill(-1, signal.SIGKILL)
    raise PermissionError(errno.EPERM, "nobody else may have been hit")


@attack(*REFUSED)
def slow_down_the_supervisor(target: Target) -> None:
    os.setpriority(os.PRIO_PROCESS, target.supervisor, os.getpriority(os.PRIO_PROCESS, target.supervisor))


@attack(*REFUSED)
def raise_its_own_priority(_target: Target) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, -20)


def trace(pid: int) -> None:
    check(libc.ptrace(PTRACE_SEIZE, pid, None, None))


@attack(*REFUSED)
def ptrace_a_process_of_the_host(target: Target) -> None:
    trace(target.victim)


@attack(*REFUSED)
def ptrace_the_other_manager(target: Target) -> None:
    trace(target.other)


@attack(*REFUSED)
def take_a_descriptor_of_the_supervisor(target: Target) -> None:
    number = 438  # pidfd_getfd
    check(libc.syscall(number, os.pidfd_open(target.supervisor), 0, 0))


@attack(*HIDDEN)
def read_the_supervisors_memory(target: Target) -> None:
    Path(f"/proc/{target.supervisor}/maps").read_text()


@attack(*HIDDEN)
def read_the_other_managers_environment(target: Target) -> None:
    Path(f"/proc/{target.other}/environ").read_bytes()
