"""Start, watch, adopt and stop the processes of one namespace, by pidfd."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import os
import select
import signal
import socket
import time

LAUNCH_TIMEOUT = 10.0  # seconds for a service to say that it runs
ASK_AGAIN = 0.02  # seconds between two looks whether it answers
STOP_TIMEOUT = 5.0  # seconds between SIGTERM and SIGKILL
FIRST_DELAY = 1.0  # seconds at least between two starts
LONGEST_DELAY = 30.0  # seconds between the starts of a service that keeps dying
STEADY = 60.0  # seconds alive after which earlier deaths are forgotten
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclasses.dataclass
class Child:
    """A process that is watched."""

    pid: int
    pidfd: int
    identity: int  # of the process, never used again: the pidfd's inode (Linux 6.9 and later)
    ended: asyncio.Event


@dataclasses.dataclass
class Tally:
    """How often a service was started, for the back-off."""

    starts: int = 0
    last: float = 0.0  # monotonic seconds
    delay: float = 0.0  # seconds from the last start to the next
    error: str = ""  # why the last start failed; empty: it didn't


class Children:
    """The processes of one manager. What ends is told by setting an event."""

    def __init__(self, happened: asyncio.Event) -> None:
        self.loop = asyncio.get_running_loop()
        self.happened = happened
        self.children: dict[str, Child] = {}
        self.tallies: dict[str, Tally] = {}

    def close(self) -> None:
        """Stop watching; the processes go on."""
        for name in list(self.children):
            self.forget(name)

    async def launch(self, argv: tuple[str, ...]) -> int:
        """Run a command that puts itself into the background; return its exit status.

        Raises OSError, and TimeoutError: then it was killed.
        """
        pid = _spawn(argv)
        child = self._watch(pid, os.pidfd_open(pid))
        try:
            async with asyncio.timeout(LAUNCH_TIMEOUT):
                await child.ended.wait()
        finally:
            self.loop.remove_reader(child.pidfd)
            if not child.ended.is_set():
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            os.close(child.pidfd)
            status = _wait(pid)
            self._reap_strangers()
        return status

    async def start(self, name: str, argv: tuple[str, ...], path: str) -> str:
        """Run a command that stays; return when it answers at a socket, or what went wrong.

        Raises OSError, and TimeoutError: then it was killed.
        """
        pid = _spawn(argv)
        if name in self.children:
            self.forget(name)
        self.children[name] = child = self._watch(pid, os.pidfd_open(pid))
        try:
            async with asyncio.timeout(LAUNCH_TIMEOUT):
                while not _answers(path):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(ASK_AGAIN):
                            await child.ended.wait()
                            return "died at once; see the instance's log"
        except TimeoutError:
            await self.stop(name)
            raise
        return ""

    def adopt(self, name: str, pid: int) -> int:
        """Watch a running process as a service; return its identity, 0 when it isn't alive or isn't ours."""
        known = self.children.get(name)
        if known is not None:
            if known.pid == pid and not known.ended.is_set():
                return known.identity
            self.forget(name)
        if pid == os.getpid():
            return 0
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return 0
        # A signal may be sent only to processes of our user namespace: whoever got this pid outside isn't ours.
        try:
            signal.pidfd_send_signal(pidfd, 0)
        except OSError:
            os.close(pidfd)
            return 0
        if select.select([pidfd], [], [], 0)[0]:
            self._reap(pidfd)
            os.close(pidfd)
            return 0
        self.children[name] = child = self._watch(pid, pidfd)
        return child.identity

    def pid(self, name: str) -> int:
        """Return the pid of a service that is alive; 0 else."""
        child = self.children.get(name)
        return child.pid if child is not None and not child.ended.is_set() else 0

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a service, if it is alive."""
        child = self.children.get(name)
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(child.pidfd, number)

    async def stop(self, name: str) -> None:
        """End a service: politely, then by force."""
        child = self.children.get(name)
        if child is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.signal(name, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT):
                    await child.ended.wait()
                    break
        self.forget(name)

    def wait_to_start(self, name: str) -> float:
        """Return the seconds until a service that died may be started again; 0: now."""
        tally = self.tallies.get(name)
        if tally is None:
            return 0.0
        return max(0.0, tally.last + tally.delay - time.monotonic())

    def count_start(self, name: str) -> None:
        """Note that a service is being started."""
        now = time.monotonic()
        tally = self.tallies.setdefault(name, Tally())
        if now - tally.last > STEADY:
            tally.delay = 0.0
        tally.starts += 1
        tally.error = ""
        tally.last = now
        tally.delay = min(LONGEST_DELAY, max(FIRST_DELAY, 2 * tally.delay))

    def count_failure(self, name: str, error: str) -> None:
        """Note why the last start failed."""
        self.tallies[name].error = error

    def last_failure(self, name: str) -> str:
        """Return why the last start failed; empty when it didn't."""
        return self.tallies.get(name, Tally()).error

    def restarts(self, name: str) -> int:
        """Return the starts of a service after the first."""
        return max(0, self.tallies.get(name, Tally()).starts - 1)

    def _watch(self, pid: int, pidfd: int) -> Child:
        child = Child(pid, pidfd, os.fstat(pidfd).st_ino, asyncio.Event())
        self.loop.add_reader(pidfd, self._end, child)
        return child

    def _end(self, child: Child) -> None:
        self.loop.remove_reader(child.pidfd)
        child.ended.set()
        if any(one is child for one in self.children.values()):
            self._reap(child.pidfd)
            self.happened.set()

    def _reap(self, pidfd: int) -> None:
        try:
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        except OSError as exc:
            if exc.errno not in (errno.ECHILD, errno.EINVAL):  # ECHILD: adopted, its parent reaps it
                raise

    def _reap_strangers(self) -> None:
        """Collect the dead that nobody watches: a service on its way into the background leaves a child between."""
        known = {child.pid for child in self.children.values()}
        with contextlib.suppress(ChildProcessError):
            while (info := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and info.si_pid not in known:
                os.waitid(os.P_PID, info.si_pid, os.WEXITED | os.WNOHANG)

    def forget(self, name: str) -> None:
        """Stop watching a service."""
        child = self.children.pop(name)
        self.loop.remove_reader(child.pidfd)
        os.close(child.pidfd)


def _spawn(argv: tuple[str, ...]) -> int:
    """Start a command with nothing of ours but the log, and return its pid. It is executed when this returns."""
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE]
    environment = {"PATH": PATH, "LC_ALL": "C"}
    return os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsigdef=signals, setsigmask=[])


def _answers(path: str) -> bool:
    """Tell whether somebody listens at a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)
        return caller.connect_ex(path) == 0


def _wait(pid: int) -> int:
    """Return the exit status of a child that has ended, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
