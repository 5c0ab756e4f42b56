"""What instances use of what they may, for `describe` and `doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pubsub.topics import InstanceResources, LimitsConfig
from pubsub.values import Size
from supervisor.cli.output import size

NEARLY_ALL = 0.9  # of a limit: time to tell
FIELDS = ("used", "limit", "peak")  # of ResourceUse, that are bytes where the resource is


def in_words(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of `resources` with sizes as people read them, and nothing where there is no number."""
    return [{**row, **{field: _text(row["name"], row[field]) for field in FIELDS}} for row in rows]


def shortages(told: Mapping[str, InstanceResources]) -> Iterator[tuple[str, str, str]]:
    """Yield each instance that is near a limit or was refused more: its name, what, and what to do."""
    for name, found in sorted(told.items()):
        for one in found.resources:
            if not one.limit:
                continue
            used, limit = _text(one.name, one.used), _text(one.name, one.limit)
            if one.refused:
                said = f"{one.name}: more than {limit} was refused {one.refused} times; {used} in use"
            elif one.used > NEARLY_ALL * one.limit:
                said = f"{one.name}: {used} of {limit} in use"
            else:
                continue
            yield name, said, f"see what of it needs so much, or raise instances.{name}.limits.{one.name}"


def _text(name: str, number: int) -> str:
    if not number:
        return "0" if not _is_size(name) else "-"
    return size(number) if _is_size(name) else str(number)


def _is_size(name: str) -> bool:
    """Tell whether a resource is counted in bytes: those are limited by a Size."""
    default = getattr(LimitsConfig(), name, None)
    return isinstance(default, Size) or name.endswith("memory")
