"""Which connections are open, have just ended, were told: each is told once, soon after its end. Pure.

One of TCP ends when both sides have closed it or one has reset it. What still comes then (the last acknowledgement, a
repetition) is waited for, then its counters are asked for and it is told; the kernel remembers it for two more minutes.
Any other ends when it expires: the kernel would find that out much later by itself, but when asked it looks.

An id is no name for ever: one that begins where another of the same ends was just deleted mostly has the same. So the
order of the news matters: what came before the news of an end is taken before it, though it comes by another socket.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from nsmanager.flows.entry import Entry

SETTLING = 0.5  # seconds from the end of TCP until the counters are final
TRIES = 3  # to find one that has ended: the news that another took its place may still wait to be read
SLOTS = 4  # a second: how exactly it is known when something is due
OPEN_LIMIT = 16_384  # connections watched for their expiry; of more the end is told late
TOLD_LIMIT = 65_536  # connections remembered as told
GONE_LIMIT = 1024  # deleted connections whose end may still be heard of
TOLD_FOR = 300.0  # seconds; the kernel forgets what TCP has ended after 120


@dataclasses.dataclass(frozen=True, slots=True)
class Due:
    """A connection that the kernel is to be asked about."""

    key: bytes  # its id
    question: bytes
    when: float  # it was due: tells it from a later one of that id


class Flows:
    """What is known of the connections of one instance. Times are of a monotonic clock."""

    def __init__(self) -> None:
        self.lost = 0  # connections whose end was never heard of
        self._open: dict[bytes, tuple[int, bytes]] = {}  # id -> slot in which it is due, question
        self._due: dict[int, set[bytes]] = {}  # slot -> ids
        self._ended: dict[bytes, tuple[float, bytes, int]] = {}  # id -> when to ask, question, tries
        self._told: dict[bytes, float] = {}  # id -> when, in this order
        self._gone: dict[bytes, list[Entry]] = {}  # id -> those that were deleted before their end was heard of
        self._missing: set[bytes] = set()  # ids that were open, and weren't there any more after news was lost

    def begun(self, entry: Entry, now: float) -> None:
        """Take one that began."""
        if entry.id not in self._open and len(self._open) < OPEN_LIMIT:
            self._watch(entry.id, entry.question, now + entry.timeout)

    def ended(self, entry: Entry, now: float) -> Iterator[Entry]:
        """Take one that TCP has ended; yield it when it is to be told at once."""
        self._forget(entry.id)
        if entry.id in self._gone:
            first, *more = self._gone.pop(entry.id)
            if more:
                self._gone[entry.id] = more
            yield first
        elif entry.id not in self._told and entry.id not in self._ended:
            self._ended[entry.id] = (now + SETTLING, entry.question, TRIES)

    def deleted(self, entry: Entry) -> Iterator[Entry]:
        """Take one that the kernel deleted; yield it when it is to be told."""
        self._forget(entry.id)
        if self._told.pop(entry.id, None) is not None:
            return
        if self._ended.pop(entry.id, None) is not None or not entry.has_ended:
            yield entry
        else:  # a manager before this one has told it, or the news of its end is still to be read
            self._gone.setdefault(entry.id, []).append(entry)
            if len(self._gone) > GONE_LIMIT:
                del self._gone[next(iter(self._gone))]

    def due(self, now: float) -> list[Due]:
        """Return those that the kernel is to be asked about now."""
        found = []
        for key, (at, question, _) in self._ended.items():
            if at > now:
                break  # each waits as long as the others
            found.append(Due(key, question, at))
        last = int(now * SLOTS)
        for slot in sorted(slot for slot in self._due if slot <= last):
            found += [Due(key, self._open[key][1], slot) for key in self._due.pop(slot)]
        return found

    def answered(self, due: Due, entry: Entry | None, now: float) -> Iterator[Entry]:
        """Take what the kernel said about one; yield it when it is to be told. All the news of then was taken."""
        key, question, when = due.key, due.question, due.when
        if entry is not None and entry.id != key:
            entry = None  # another one with the same ends
        if key in self._ended and self._ended[key][0] == when:
            _, _, tries = self._ended.pop(key)
            if entry is not None and entry.has_ended:
                yield self._tell(entry, now)
            elif tries > 1:
                self._ended[key] = (now + SETTLING, question, tries - 1)
            else:
                self.lost += 1
        elif key in self._open and self._open[key][0] == when and entry is not None:
            if entry.has_ended:  # its end was missed
                self._forget(key)
                yield self._tell(entry, now)
            else:
                self._watch(key, question, now + entry.timeout)

    def adopt(self, entries: Iterable[Entry], now: float) -> None:
        """Take what is there when the watch begins; what has ended, a manager before this one has told."""
        for entry in entries:
            if entry.has_ended:
                self._tell(entry, now)
            else:
                self.begun(entry, now)

    def resync(self, entries: Iterable[Entry], now: float) -> Iterator[Entry]:
        """Take all that is there after some news was lost; yield those that are to be told. Then `settle`."""
        present = set()
        for entry in entries:
            present.add(entry.id)
            if not entry.has_ended:
                self.begun(entry, now)
            elif entry.id not in self._told and entry.id not in self._ended:
                self._forget(entry.id)
                yield self._tell(entry, now)
        self._missing = self._open.keys() - present

    def settle(self) -> None:
        """Give up those that were missing, now that all the news of then was read."""
        for key in self._missing & self._open.keys():
            self._forget(key)
            self.lost += 1
        self._missing = set()

    @property
    def open(self) -> int:
        """How many are watched."""
        return len(self._open)

    def _tell(self, entry: Entry, now: float) -> Entry:
        self._told[entry.id] = now
        while self._told:
            oldest = next(iter(self._told))
            if len(self._told) <= TOLD_LIMIT and self._told[oldest] > now - TOLD_FOR:
                break
            del self._told[oldest]
        return entry

    def _watch(self, key: bytes, question: bytes, until: float) -> None:
        slot = int(until * SLOTS) + 1
        self._open[key] = (slot, question)
        self._due.setdefault(slot, set()).add(key)

    def _forget(self, key: bytes) -> None:
        slot, _ = self._open.pop(key, (0, b""))
        keys = self._due.get(slot)
        if keys is not None:
            keys.discard(key)
            if not keys:
                del self._due[slot]
