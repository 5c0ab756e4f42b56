"""Knows when client processes end: a pidfd each (pidfd_open(2)), so a crash is seen as soon as it happens."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path

START_TIME_FIELD = 22 - 3  # of /proc/<pid>/stat after the command's closing bracket, proc(5)


class Watcher:
    """Calls `ended(pid)` once when a watched process is gone."""

    def __init__(self, ended: Callable[[int], None]) -> None:
        self._ended = ended
        self._pidfds: dict[int, int] = {}

    def watch(self, pid: int) -> bool:
        """Begin to watch; return whether the process lives. A pid of 0 can't be watched, and counts as living."""
        if not pid or pid in self._pidfds:
            return self.is_alive(pid)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return False  # gone; or no more descriptors, then the beats find out
        self._pidfds[pid] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._on_exit, pid)
        return self.is_alive(pid)

    def unwatch(self, pid: int) -> None:
        """Stop watching."""
        pidfd = self._pidfds.pop(pid, -1)
        if pidfd >= 0:
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)

    def is_alive(self, pid: int) -> bool:
        """Look now, without waiting for the loop's turn."""
        pidfd = self._pidfds.get(pid, -1)
        if pidfd < 0:
            return pid == 0
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Stop watching all."""
        for pid in tuple(self._pidfds):
            self.unwatch(pid)

    def _on_exit(self, pid: int) -> None:
        self.unwatch(pid)
        self._ended(pid)


def birth_of(pid: int) -> str:
    """Tell a process from every other that had or will have its pid; empty when it can't be read."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip().decode()
        stat = Path(f"/proc/{pid}/stat").read_bytes().decode(errors="replace")
    except OSError:
        return ""
    return f"{boot}:{stat.rpartition(')')[2].split()[START_TIME_FIELD]}"
