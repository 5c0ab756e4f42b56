"""Holds the processes of each instance to its limits, and tells what they use."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from pubsub.topics import LimitsConfig, ResourceUse
from supervisor.containment import cgroup
from supervisor.containment.limits import APPS, MANAGER, Rlimits, apps_rlimits, group_files, manager_rlimits
from supervisor.containment.scope import FIRST, Found

log = logging.getLogger(__name__)

DEFAULTS: Final = LimitsConfig()  # of an instance that isn't configured any more
GRAIN: Final = 1 << 20  # bytes to which memory is told: each page more would be news to everybody
KILLED: Final = "SIGKILL"  # by which the kernel ends whom it finds no memory for
OUT_OF_MEMORY: Final = "out of memory, with its services over"
OOM_KILLS: Final = "oom_kill"  # of memory.events
NAME_WIDTH: Final = 26  # characters of a name in /proc/PID/limits (proc(5))
RLIMIT_NAMES: Final = {
    resource.RLIMIT_NPROC: "Max processes",
    resource.RLIMIT_NOFILE: "Max open files",
    resource.RLIMIT_DATA: "Max data size",
}


class Hold(msgspec.Struct, frozen=True):
    """What a newborn process does to itself: it enters a group (empty: none), and sets its rlimits."""

    group: str
    rlimits: Rlimits


class Containment:
    """Of all instances. Without a control group to use rlimits do what they can."""

    def __init__(self, found: Found) -> None:
        self._root = found.root
        self._mount = cgroup.mount_point() if found.root else None  # asked once: each pin is a line of what is read
        self._limits: dict[str, LimitsConfig] = {}
        self._ooms: dict[str, int] = {}  # kills that were told already
        if found.root is None:
            log.info("containment: by rlimits, no control group: %s", found.reason)

    @property
    def held_by(self) -> str:
        """What holds processes to their limits, in a word."""
        return "cgroup" if self._root else "rlimits"

    def hold(self, wanted: Mapping[str, LimitsConfig], known: Collection[str]) -> set[str]:
        """Hold instances to limits; return those whose limits are others now. Groups of none `known` are removed."""
        changed = {name for name, limits in wanted.items() if self._limits.get(name) != limits}
        self._limits = dict(wanted)
        for name in changed:
            self._write(name)
        if changed:
            self._sweep({*wanted, *known})
        return changed

    def manager(self, name: str) -> Hold:
        """Return what a newborn manager does to itself."""
        hold = self._hold(name, MANAGER, lambda grouped: manager_rlimits(self.limits(name), grouped=grouped))
        self._new_kills(name)  # what was before isn't its death
        return hold

    def apps(self, name: str) -> Hold:
        """Return what a newborn command of `nsvisor run` does to itself."""
        return self._hold(name, APPS, lambda grouped: apps_rlimits(self.limits(name), grouped=grouped))

    def gather(self, name: str, manager: int, processes: Callable[[], Iterable[int]]) -> None:
        """Hold a manager that lives already, and its services, where they aren't held as they should be."""
        if name not in self._limits:
            return  # not known yet
        hold = self.manager(name)  # as if it were born now
        outside = bool(hold.group) and f"{self._mount}{cgroup.path_of(manager)}" != hold.group
        if not outside and _has(manager, hold.rlimits):
            return
        for pid in processes():
            with contextlib.suppress(ProcessLookupError):
                try:
                    if outside:
                        Path(hold.group, cgroup.PROCS).write_text(str(pid))
                    for kind, value in hold.rlimits:
                        resource.prlimit(pid, kind, (value, value))
                except (OSError, ValueError) as exc:
                    log.warning("instance %s: pid %s keeps its old limits until it is started anew: %s", name, pid, exc)
                    return

    def end(self, name: str) -> None:
        """End all processes in an instance's group."""
        if self._root is not None:
            cgroup.kill(self._root / name)

    def is_gone(self, name: str) -> bool:
        """Remove an instance's group; False while a process is in it."""
        return self._root is None or cgroup.remove(self._root / name)

    def explain(self, name: str, how: str) -> str:
        """Return how a manager ended, with the reason where that was its group's memory."""
        return f"{how}: {OUT_OF_MEMORY} {self.limits(name).memory}" if self._new_kills(name) and KILLED in how else how

    def use(self, name: str, pids: Collection[int]) -> tuple[ResourceUse, ...]:
        """Return what an instance's processes use; `pids` are its manager's and services'."""
        limits = self.limits(name)
        open_files = max((_count(f"/proc/{pid}/fd") for pid in pids), default=0)
        files = ResourceUse(name="open_files", used=open_files, limit=limits.open_files)
        if self._root is None:
            return (
                ResourceUse(name="memory", used=_rounded(sum(map(_resident, pids))), limit=int(limits.memory)),
                ResourceUse(
                    name="processes", used=sum(_count(f"/proc/{pid}/task") for pid in pids), limit=limits.processes
                ),
                files,
            )
        manager, apps = self._root / name / MANAGER, self._root / name / APPS
        return (
            _memory("memory", manager, int(limits.memory)),
            _processes("processes", manager, limits.processes),
            files,
            _memory("apps_memory", apps, int(limits.apps_memory or 0)),
            _processes("apps_processes", apps, limits.apps_processes),
        )

    def _new_kills(self, name: str) -> bool:
        """Tell whether processes of the manager's group were killed for its memory since the last question."""
        if self._root is None:
            return False
        kills = cgroup.counts(self._root / name / MANAGER, "memory.events").get(OOM_KILLS, 0)
        before, self._ooms[name] = self._ooms.get(name, 0), kills
        return kills > before

    def limits(self, name: str) -> LimitsConfig:
        """Return what an instance may use."""
        return self._limits.get(name, DEFAULTS)

    def _hold(self, name: str, part: str, rlimits: Callable[[bool], Rlimits]) -> Hold:
        """Have a group made where that is possible; else rlimits do what they can."""
        if self._root is None or not self._stands(name, part):
            return Hold("", rlimits(False))
        return Hold(str(self._root / name / part), rlimits(True))

    def _stands(self, name: str, part: str) -> bool:
        """Tell whether an instance's group is there; while its limits aren't known yet it stays as it is."""
        assert self._root is not None, "asked before"
        known = name not in self._limits and (self._root / name / part).exists()
        return known or self._write(name)

    def _write(self, name: str) -> bool:
        """Make an instance's groups, and write what isn't so already; False when that failed."""
        if self._root is None:
            return False
        group = self._root / name
        try:
            group.mkdir(exist_ok=True)
            cgroup.enable(group)
            for part, files in group_files(self.limits(name)).items():
                (group / part).mkdir(exist_ok=True)
                for file, value in files.items():
                    cgroup.write(group / part, file, value)
        except OSError as exc:
            log.error("instance %s: its limits can't be set: %s", name, exc)  # noqa: TRY400  # an administrator's
            return False
        return True

    def _sweep(self, known: Collection[str]) -> None:
        """Remove groups that an earlier supervisor left."""
        if self._root is not None:
            for group in self._root.iterdir():
                if group.is_dir() and group.name not in {*known, FIRST}:
                    cgroup.remove(group)


def _has(pid: int, rlimits: Rlimits) -> bool:
    """Tell whether a process has these limits. /proc tells also who may not ask by prlimit(2)."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return False
    found = {line[:NAME_WIDTH].rstrip(): line[NAME_WIDTH:].split()[:2] for line in lines}
    return all(found.get(RLIMIT_NAMES[kind]) == [str(value)] * 2 for kind, value in rlimits)


def _memory(name: str, group: Path, limit: int) -> ResourceUse:
    return ResourceUse(
        name=name,
        used=_rounded(cgroup.number(group, "memory.current")),
        limit=limit,
        peak=_rounded(cgroup.number(group, "memory.peak")),  # since Linux 5.19
        refused=cgroup.counts(group, "memory.events").get(OOM_KILLS, 0),
    )


def _processes(name: str, group: Path, limit: int) -> ResourceUse:
    return ResourceUse(
        name=name,
        used=cgroup.number(group, "pids.current"),
        limit=limit,
        peak=cgroup.number(group, "pids.peak"),  # since Linux 6.1
        refused=cgroup.counts(group, "pids.events").get("max", 0),
    )


def _rounded(size: int) -> int:
    return -(-size // GRAIN) * GRAIN


def _count(folder: str) -> int:
    try:
        return len(os.listdir(folder))  # noqa: PTH208  # a path for each would take four times as long
    except OSError:
        return 0


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
