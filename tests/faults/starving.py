"""What can be missing: descriptors, memory, the right to write a file, room on the disk. Each is back by itself."""

from __future__ import annotations

import contextlib
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.system import System

STARVED = 1.5  # seconds that something is missing, or stands still


def starve_of_files(system: System, name: str) -> None:
    """nsvisord can open nothing more for a while, nor can hub, spawner and a manager."""
    pids = system.ours(name)
    with contextlib.ExitStack() as limits:
        for pid in pids:
            with contextlib.suppress(OSError):
                limits.enter_context(limited(system, pid, resource.RLIMIT_NOFILE, len(list(_descriptors(pid)))))
        disturb(system)


def starve_of_memory(system: System, name: str) -> None:
    """One of ours gets no more memory for a while."""
    pids = system.ours(name)
    pid = pids[system.signals % len(pids)]  # as drawn as anything: how often was signalled before
    with contextlib.suppress(OSError), limited(system, pid, resource.RLIMIT_AS, _size(pid)):
        disturb(system)


def refuse_writes(system: System, name: str) -> None:
    """Every write to a file fails for a while, whatever room there is: of all that is ours."""
    with contextlib.ExitStack() as limits:
        for pid in system.ours(name):
            with contextlib.suppress(OSError):
                limits.enter_context(limited(system, pid, resource.RLIMIT_FSIZE, 0))
        disturb(system)


def fill_disk(system: System, _: str) -> None:
    """No byte more below the run and the state folder."""
    with system.full_disk():
        disturb(system)


def kill_all_on_a_full_disk(system: System, _: str) -> None:
    """What comes back finds no room either."""
    with system.full_disk():
        system.rig.daemon.kill()
        system.signal_all(signal.SIGKILL, *system.managers(), *system.some(system.rig.hub))
        system.rig.daemon.start(ready=False)
        disturb(system)


def disturb(system: System) -> None:
    """Have them do something: a manager dies, and an instance comes or goes."""
    system.signal_all(signal.SIGKILL, *system.managers()[:1])
    system.churn(present=not system.churns)
    time.sleep(STARVED)


@contextlib.contextmanager
def limited(system: System, pid: int, kind: int, value: int) -> Iterator[None]:
    """Give a process a lower limit for a while; then those that it bore meanwhile have theirs back, too."""
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (value, before[1]))
    try:
        yield
    finally:
        for one in system.rig.host.pids():
            with contextlib.suppress(OSError):
                if resource.prlimit(one, kind)[0] == value:
                    resource.prlimit(one, kind, (before[0], resource.prlimit(one, kind)[1]))


def _descriptors(pid: int) -> Iterator[Path]:
    return Path(f"/proc/{pid}/fd").iterdir()


def _size(pid: int) -> int:
    """Return how many bytes of addresses a process has in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
