"""What is written where for an instance's limits. Pure."""

from __future__ import annotations

import resource
from typing import Final

from pubsub.topics import LimitsConfig
from supervisor.containment.cgroup import NO_LIMIT

MANAGER: Final = "manager"  # group of the manager and its services
APPS: Final = "apps"  # group of the commands of `nsvisor run`
PAGE: Final = resource.getpagesize()  # bytes; the kernel rounds down to whole ones (page_counter_memparse)

Rlimits = tuple[tuple[int, int], ...]  # which (setrlimit(2)), and how much: soft and hard


def group_files(limits: LimitsConfig) -> dict[str, dict[str, str]]:
    """Return the files of an instance's group (empty name) and of those below it, with their content."""
    return {
        "": {"cpu.weight": str(limits.cpu_weight)},
        MANAGER: {"memory.max": _pages(limits.memory), "pids.max": str(limits.processes)},
        APPS: {
            "memory.max": NO_LIMIT if limits.apps_memory is None else _pages(limits.apps_memory),
            "pids.max": str(limits.apps_processes),
        },
    }


def manager_rlimits(limits: LimitsConfig, *, grouped: bool) -> Rlimits:
    """Return the rlimits of a manager, which its services inherit. Not `grouped`: there is no group that counts memory.

    The kernel counts processes by uid, data by process: a manager and its services have a few of each.
    """
    found = ((resource.RLIMIT_NPROC, limits.processes), (resource.RLIMIT_NOFILE, limits.open_files))
    return found if grouped else (*found, (resource.RLIMIT_DATA, int(limits.memory)))


def apps_rlimits(limits: LimitsConfig, *, grouped: bool) -> Rlimits:
    """Return the rlimits of a command of `nsvisor run`.

    Not of its processes: RLIMIT_NPROC counts all that its user has on the host.
    """
    if grouped or limits.apps_memory is None:
        return ()
    return ((resource.RLIMIT_DATA, int(limits.apps_memory)),)


def _pages(size: int) -> str:
    return str(size // PAGE * PAGE)
