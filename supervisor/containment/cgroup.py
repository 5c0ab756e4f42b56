"""Control groups of the unified hierarchy (cgroup v2) as files; see Documentation/admin-guide/cgroup-v2.rst."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

PROCS: Final = "cgroup.procs"
CONTROLLERS: Final = ("cpu", "memory", "pids")  # all are needed
NO_LIMIT: Final = "max"


def mount_point() -> Path | None:
    """Return where the unified hierarchy is mounted; None: nowhere."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


def path_of(pid: int | str) -> str:
    """Return the group of a process, as a path below the mount point that begins with `/`; empty: it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return line.removeprefix("0::")
    return ""


def read(group: Path, file: str) -> str:
    """Return what a file of a group says; empty where there is none, as in older kernels."""
    try:
        return (group / file).read_text().strip()
    except OSError:
        return ""


def counts(group: Path, file: str) -> dict[str, int]:
    """Return the numbers of a flat keyed file, as memory.events."""
    pairs = (line.split() for line in read(group, file).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def number(group: Path, file: str) -> int:
    """Return the number that a file holds; 0: none, or `max`."""
    text = read(group, file)
    return int(text) if text.isdigit() else 0


def lacking(group: Path) -> str:
    """Return the controllers that a group's children need and can't have, as words; empty: none."""
    available = read(group, "cgroup.controllers").split()
    return ", ".join(name for name in CONTROLLERS if name not in available)


def enable(group: Path) -> None:
    """Give a group's children the controllers that they lack. Raises OSError: EBUSY while processes are in it."""
    enabled = read(group, "cgroup.subtree_control").split()
    missing = [f"+{name}" for name in CONTROLLERS if name not in enabled]
    if missing:
        (group / "cgroup.subtree_control").write_text(" ".join(missing))


def write(group: Path, file: str, value: str) -> None:
    """Set a limit, if it isn't so. Raises OSError."""
    if read(group, file) != value:
        (group / file).write_text(value)
        log.info("echo %s > %s/%s", value, group, file)


def is_populated(group: Path) -> bool:
    """Tell whether a process lives in the group or below."""
    return counts(group, "cgroup.events").get("populated", 0) > 0


def kill(group: Path) -> None:
    """End all processes in the group and below; a kernel before 5.14 can't, then nothing happens."""
    with contextlib.suppress(OSError):
        (group / "cgroup.kill").write_text("1")


def remove(group: Path) -> bool:
    """Remove a group and those below it; False while processes are in one."""
    try:
        folders = [entry for entry in group.iterdir() if entry.is_dir()]
        left = [folder for folder in folders if not remove(folder)]
        if left:
            return False
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
