"""One stream as the hub keeps it: the last records with their numbers. A slow reader costs a number, not a queue."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from operator import itemgetter

from pubsub.hub_table import Owner
from pubsub.limits import BATCH_LIMIT, STREAM_KEEP_LIMIT, STREAM_LIMIT, VALUE_LIMIT
from pubsub.wire import Records

NUMBER = itemgetter(0)
NUMBER_LIMIT = 1 << 53  # numbers up to here are exact in every language


class Stream:
    """Records are opaque bytes here. Numbers grow by one; what never arrived leaves a gap in them."""

    persistent = False

    def __init__(self, name: str, *, keep: int) -> None:
        self.name = name
        self.keep = max(1, min(keep, STREAM_KEEP_LIMIT))
        self.incarnation = random.getrandbits(52) | 1  # numbers of another one mean nothing
        self.records: deque[tuple[int, bytes]] = deque()
        self.size = 0  # bytes
        self.sequence = 0  # number of the last record
        self.base = 0  # number before the writer's first record
        self.epoch = 0
        self.starts = 0
        self.lost = 0  # records that a reader or the hub missed
        self.owner: Owner | None = None
        self.stale_since = 0.0
        self.problem = ""
        self.feeds: set[Cursor] = set()

    def claim(self, owner: Owner, epoch: int, base: int = 0) -> None:
        """Take a writer; `base` is what an earlier hub told it, when this one may have lost its files."""
        if self.epoch != epoch:
            self.starts += 1
            self.base = max(min(base, NUMBER_LIMIT), self.sequence)
        self.owner, self.epoch, self.stale_since = owner, epoch, 0.0

    def abandon(self, now: float) -> None:
        """Lose the writer. `now` in seconds since the epoch."""
        self.owner = None
        self.stale_since = self.stale_since or now

    def append(self, first: int, values: tuple[bytes, ...]) -> list[tuple[int, bytes]]:
        """Take records, the first with the writer's own count; return those that are new, with their numbers."""
        added = []
        for number, value in enumerate(values, self.base + first):
            if not self.sequence < number <= NUMBER_LIMIT or len(value) > VALUE_LIMIT:
                continue  # sent again after a reconnect; or nonsense
            self.lost += number - self.sequence - 1
            self.add(number, value)
            added.append((number, value))
        for feed in self.feeds:
            feed.wake(feed)
        return added

    def add(self, number: int, value: bytes) -> None:
        """Take one record, drop what is over the limits."""
        self.records.append((number, value))
        self.sequence = number
        self.size += len(value)
        while len(self.records) > self.keep or self.size > STREAM_LIMIT:
            self.size -= len(self.records.popleft()[1])


class Cursor:
    """Where one reader of a stream stands."""

    def __init__(self, handle: int, stream: Stream, start: int, wake: Callable[[Cursor], None]) -> None:
        self.handle = handle
        self.stream = stream
        self.wake = wake
        self._next = start
        wake(self)

    def has_more(self) -> bool:
        """Tell whether a record waits."""
        return bool(self.stream.records) and self._next <= self.stream.sequence

    def next_frame(self) -> Records:
        """Take the next records with consecutive numbers out."""
        records = self.stream.records
        index = bisect_left(records, self._next, key=NUMBER)
        first = records[index][0]
        self.stream.lost += first - self._next if index == 0 else 0
        values: list[bytes] = []
        size = 0
        for number, value in itertools.islice(records, index, None):
            size += len(value)
            if number != first + len(values) or (values and size > BATCH_LIMIT):
                break
            values.append(value)
        self._next = first + len(values)
        return Records(self.handle, self.stream.incarnation, first, tuple(values))
