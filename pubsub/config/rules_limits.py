"""What limits must fulfil beyond their types."""

from __future__ import annotations

from pubsub.config.rules_words import Findings
from pubsub.topics import LimitsConfig
from pubsub.values import Size

MOST_PROCESSES = 1 << 22  # PID_MAX_LIMIT (linux/threads.h)
MOST = 1 << 31  # of what is counted

# field -> least and most
RANGES: dict[str, tuple[int, int]] = {
    "memory": (
        64 << 20,
        1 << 50,
    ),  # a manager with all of its services
    "processes": (64, MOST_PROCESSES),
    "open_files": (256, 1 << 20),  # fs.nr_open of most hosts
    "cpu_weight": (1, 10_000),  # of cpu.weight (cgroups, admin-guide/cgroup-v2.rst)
    "apps_memory": (1 << 20, 1 << 50),
    "apps_processes": (4, MOST_PROCESSES),  # a guardian, its command and what that starts
    "connections": (16, MOST),
    "neighbours": (8, MOST),
    "leases": (1, 1 << 24),
    "flows": (1, 25_000),  # a second; a manager reads no more of them
    "queries": (1, 1_000_000),
    "broadcasts": (10, 10_000_000),  # an app that gets a lease and asks for addresses sends a few
    "bus_messages": (50, 1_000_000),  # a second; a manager that starts tells a few of each kind
    "bus_bytes": (1 << 20, 1 << 40),
}


def check_limits(limits: LimitsConfig) -> Findings:
    """Yield limits that nothing works with."""
    for field, (least, most) in RANGES.items():
        value = getattr(limits, field)
        if value is not None and not least <= value <= most:
            low, high = (Size(least), Size(most)) if isinstance(value, Size) else (least, most)
            yield ("limits", field), f"a limit of {value} is not possible", f"use {low} to {high}"
