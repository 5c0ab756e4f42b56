"""A process as the supervisor knows it: by pid and start time, watched by pidfd, its own child or adopted."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from supervisor.waiting import readable

STOP_TIMEOUT = 5.0  # seconds between SIGTERM and SIGKILL


class Identity(msgspec.Struct, frozen=True):
    """Which process: a pid alone may come back as another's."""

    pid: int
    start: int  # clock ticks since boot, field 22 of /proc/pid/stat (proc(5))


def identity(pid: int) -> Identity | None:
    """Return the identity of a living process, None when there is none (a zombie lives no more)."""
    try:
        fields = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else Identity(pid, int(fields[19]))


def lineage(pid: int) -> Iterator[int]:
    """Yield a pid, that of the parent, and so on."""
    with contextlib.suppress(OSError):
        while pid:
            yield pid
            pid = int(_stat(pid)[1])


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/pid/stat (proc(5)) behind the name, from the state on. Raises OSError."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


class Child:
    """A living process, held by its pidfd until `close`."""

    def __init__(self, who: Identity, pidfd: int) -> None:
        self.identity = who
        self.pidfd = pidfd

    @classmethod
    def find(cls, who: Identity | None) -> Self | None:
        """Take hold of a process, None when that very one is gone."""
        if who is None:
            return None
        try:
            pidfd = os.pidfd_open(who.pid)
        except OSError as exc:
            # EINVAL (Linux 6.1): the process is gone, and what it started still has its pid as that of their session.
            if exc.errno not in (errno.ESRCH, errno.EINVAL):
                raise
            return None
        if identity(who.pid) != who:  # asked after the open: from here on the descriptor can't be another's
            os.close(pidfd)
            return None
        return cls(who, pidfd)

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Take hold of the process that has this pid now."""
        return cls.find(identity(pid))

    @property
    def pid(self) -> int:
        """Its pid."""
        return self.identity.pid

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when it is gone already."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not select.select([self.pidfd], [], [], 0)[0]

    async def ended(self) -> str:
        """Wait for the end. Returns how it ended, in words; of an adopted process that can't be known."""
        await readable(self.pidfd)
        return self.reap()

    def reap(self) -> str:
        """Collect the ended process. Returns how it ended, in words."""
        try:
            info = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return "ended"
        return "ended" if info is None else describe(info.si_code, info.si_status)

    async def stop(self) -> str:
        """End it: SIGTERM, and SIGKILL after STOP_TIMEOUT. Returns how it ended."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                return await self.ended()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            return await self.ended()

    def close(self) -> None:
        """Let go of it; the process is not touched."""
        os.close(self.pidfd)


def describe(code: int, status: int) -> str:
    """Say how a process ended, from the fields of siginfo_t (waitid(2))."""
    if code == os.CLD_EXITED:
        return f"exited with status {status}"
    return f"killed by {signal.Signals(status).name}"


def processes_of(uids: range, netns: int) -> Iterator[int]:
    """Yield the pids of all processes of the uids that live in the network namespace of that inode.

    The uids alone don't tell whose they are: two daemons that start at once may draw the same range.
    """
    for pid, uid in all_uids():
        if uid in uids:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/ns/net").stat().st_ino == netns:
                    yield pid


def all_uids() -> Iterator[tuple[int, int]]:
    """Yield pid and real uid of every process. /proc/pid's owner won't do: that of an undumpable process is root."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError), open(f"{entry.path}/status", "rb") as file:
                yield int(entry.name), int(file.read().partition(b"\nUid:")[2].split(None, 1)[0])


def reap_orphans(known: set[int]) -> None:
    """Collect the zombies that fell to us as subreaper: services of a dead manager. The known ones are left alone."""
    while True:
        try:
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if info is None or info.si_pid in known:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, info.si_pid, os.WEXITED | os.WNOHANG)
