"""What of the use of resources is worth a warning, and how it is shown."""

from __future__ import annotations

from pubsub.topics import InstanceResources, ResourceUse
from supervisor.cli.resources import in_words, shortages


def told(*uses: ResourceUse) -> dict[str, InstanceResources]:
    return {"red": InstanceResources(held_by="cgroup", resources=uses)}


def test_who_has_enough_is_not_warned() -> None:
    assert list(shortages(told(ResourceUse(name="leases", used=90, limit=100), ResourceUse(name="x", used=9)))) == []


def test_who_is_near_a_limit_or_was_refused_more_is_warned_with_the_field_to_change() -> None:
    near = ResourceUse(name="memory", used=250 << 20, limit=256 << 20)
    refused = ResourceUse(name="connections", used=10, limit=100, refused=7)
    assert list(shortages(told(near, refused))) == [
        (
            *("red", "memory: 250.0 MiB of 256.0 MiB in use"),
            "see what of it needs so much, or raise instances.red.limits.memory",
        ),
        (
            *("red", "connections: more than 100 was refused 7 times; 10 in use"),
            "see what of it needs so much, or raise instances.red.limits.connections",
        ),
    ]


def test_sizes_are_shown_as_sizes_and_counts_as_counts() -> None:
    rows = [
        {"name": "apps_memory", "used": 3 << 20, "limit": 0, "peak": 4 << 20, "refused": 0},
        {"name": "processes", "used": 0, "limit": 512, "peak": 0, "refused": 2},
    ]
    assert in_words(rows) == [
        {"name": "apps_memory", "used": "3.0 MiB", "limit": "-", "peak": "4.0 MiB", "refused": 0},
        {"name": "processes", "used": "0", "limit": "512", "peak": "0", "refused": 2},
    ]
