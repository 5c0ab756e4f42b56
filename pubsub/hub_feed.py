"""What one subscription still has to be told about one table: names of keys, never values, so it stays small.

A key that changes ten times while its reader is busy stands here once. A snapshot is nothing special: all keys,
between two markers.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from pubsub.limits import BATCH_LIMIT
from pubsub.wire import Begin, Changes, Complete, Entry, Frame, Restarted, Stale

if TYPE_CHECKING:
    from pubsub.hub_table import Table

CHURN = 1000  # names of withdrawn keys that may wait beside the table's own, before a new snapshot is the shorter way
ENTRY_COST = 16  # bytes around a key and its value in a frame, at most


class Marker(enum.Enum):
    """What stands in a queue beside keys."""

    BEGIN = 1
    COMPLETE = 2
    RESTARTED = 3
    STALE = 4


class Feed:
    """The way from one table to one subscription. `wake` is called whenever there is something to tell."""

    def __init__(self, handle: int, table: Table, wake: Callable[[Feed], None]) -> None:
        self.handle = handle
        self.table = table
        self.wake = wake
        self._sequence = 0  # that the last Changes told
        self._queue: OrderedDict[str | Marker, None] = OrderedDict()  # first in, first out; dict would be quadratic
        self._begin()

    def changed(self, key: str) -> None:
        """Note a change of the key."""
        self._queue[key] = None
        if len(self._queue) > 2 * len(self.table.entries) + CHURN:
            self._begin()
        self.wake(self)

    def tell(self, marker: Marker) -> None:
        """Note something else about the table, as what was told last of its writer: the last word must be true."""
        self._queue[marker] = None
        self._queue.move_to_end(marker)
        self.wake(self)

    def has_more(self) -> bool:
        """Tell whether something waits."""
        return bool(self._queue)

    def next_frame(self) -> Frame:
        """Take the next frame out. Only when there is more."""
        first = next(iter(self._queue))
        if isinstance(first, Marker):
            del self._queue[first]
            return self._marker_frame(first)
        entries = self._take_entries()
        previous, self._sequence = self._sequence, self.table.sequence
        return Changes(self.handle, self.table.name, previous, self.table.sequence, entries)

    def _begin(self) -> None:
        self._queue.clear()
        self._queue[Marker.BEGIN] = None
        self._queue.update(dict.fromkeys(self.table.entries))
        self._queue[Marker.COMPLETE] = None
        self.wake(self)

    def _marker_frame(self, marker: Marker) -> Frame:
        table = self.table
        match marker:
            case Marker.BEGIN:
                self._sequence = 0
                return Begin(self.handle, table.name, table.starts, table.stale_since)
            case Marker.COMPLETE:
                return Complete(self.handle, table.name)
            case Marker.RESTARTED:
                return Restarted(self.handle, table.name, table.starts)
            case Marker.STALE:
                return Stale(self.handle, table.name, table.stale_since)

    def _take_entries(self) -> tuple[Entry, ...]:
        entries: list[Entry] = []
        size = 0
        for key in self._queue:
            if isinstance(key, Marker):
                break
            value = self.table.entries.get(key)
            size += len(key) + len(value or b"") + ENTRY_COST
            if entries and size > BATCH_LIMIT:
                break
            entries.append((key, value))
        for key, _ in entries:
            del self._queue[key]
        return tuple(entries)
