"""Which connections are open, have just ended, were told: each is told once, soon after its end. Pure.

One of TCP ends when both sides have closed it or one has reset it. What still comes then (the last acknowledgement, a
repetition) is waited for, then its counters are asked for and it is told; the kernel remembers it for two more minutes.
Any other ends when it expires: the kernel would find that out much later by itself, but when asked it looks.

News may be late, or lost when there is too much of it. After that all are listed: only one of TCP that ended and made
room for another of the same ends meanwhile isn't told. News that another expired always comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from nsmanager.flows.entry import Entry

SETTLING = 0.5  # seconds from the end of TCP until the counters are final
SLOTS = 4  # a second: how exactly it is known when something is due
OPEN_LIMIT = 16_384  # connections watched for their expiry; of more the end is told late
TOLD_LIMIT = 65_536  # connections remembered as told; where there are more, what is deleted is mostly taken for told
MEMORY = 300.0  # seconds; the kernel forgets what TCP has ended after 120


class Due(msgspec.Struct, frozen=True):
    """A connection that the kernel is to be asked about."""

    key: int
    question: bytes
    when: float  # it was due: tells it from a later one of that key


class Flows:
    """What is known of the connections of one instance. Times are of a monotonic clock."""

    def __init__(self, since: float) -> None:
        """Begin a watch; `since` are seconds since the epoch: what TCP ended before, somebody else has told."""
        self._since = since
        self._open: dict[int, tuple[int, bytes]] = {}  # key -> slot in which it is due, question
        self._due: dict[int, set[int]] = {}  # slot -> keys
        self._ended: dict[int, tuple[float, bytes]] = {}  # key -> when to ask, question
        self._told: dict[int, float] = {}  # life -> when, in this order
        self._forgotten = -MEMORY  # when there were too many to remember

    def begun(self, entry: Entry, now: float) -> None:
        """Take one that began."""
        if entry.key not in self._open and len(self._open) < OPEN_LIMIT:
            self._watch(entry.key, entry.question, now + entry.timeout)

    def ended(self, entry: Entry, now: float) -> None:
        """Take one that TCP has ended."""
        self._forget(entry.key)
        self._ended.pop(entry.key, None)  # these are in order
        self._ended[entry.key] = (now + SETTLING, entry.question)

    def deleted(self, entry: Entry, now: float) -> Iterator[Entry]:
        """Take one that the kernel deleted; yield it when it is to be told."""
        self._forget(entry.key)
        pending = self._ended.pop(entry.key, None)  # of a later one, when this comes late: that is told when deleted
        if entry.life in self._told:
            del self._told[entry.life]
        elif not entry.has_ended or pending or self._is_news(entry, now):
            yield entry

    def due(self, now: float) -> list[Due]:
        """Return those that the kernel is to be asked about now."""
        found = []
        for key, (at, question) in self._ended.items():
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
        if entry is not None and entry.key != key:
            entry = None  # another one with the same ends
        if key in self._ended and self._ended[key][0] == when:
            del self._ended[key]
            if entry is not None and entry.has_ended and entry.life not in self._told:
                self._remember(entry, now)
                yield entry
        elif key in self._open and self._open[key][0] == when:
            if entry is None:
                self._forget(key)
            elif entry.has_ended:  # its end was missed
                self.ended(entry, now)
            else:
                self._watch(key, question, now + entry.timeout)

    def adopt(self, entries: Iterable[Entry], now: float) -> None:
        """Take what is there when the watch begins; what has ended, a manager before this one has told."""
        for entry in entries:
            if entry.has_ended:
                self._remember(entry, now)
            else:
                self.begun(entry, now)

    def resync(self, entries: Iterable[Entry], now: float) -> None:
        """Take all that is there, after news was lost and the rest of it was read."""
        for entry in entries:
            if not entry.has_ended:
                self.begun(entry, now)
            elif entry.life not in self._told and entry.key not in self._ended:
                self.ended(entry, now)

    @property
    def open(self) -> int:
        """How many are watched."""
        return len(self._open)

    def _is_news(self, entry: Entry, now: float) -> bool:
        """Tell whether one that was deleted, and isn't remembered as told, has never been told."""
        return entry.times[1] >= self._since and now > self._forgotten + MEMORY

    def _remember(self, entry: Entry, now: float) -> None:
        """Take one as told."""
        self._told[entry.life] = now
        oldest = next(iter(self._told))
        if self._told[oldest] < now - MEMORY:  # the news of its deletion was lost
            del self._told[oldest]
        elif len(self._told) > TOLD_LIMIT:
            del self._told[oldest]
            self._forgotten = now

    def _watch(self, key: int, question: bytes, until: float) -> None:
        slot = int(until * SLOTS) + 1
        self._open[key] = (slot, question)
        self._due.setdefault(slot, set()).add(key)

    def _forget(self, key: int) -> None:
        slot, _ = self._open.pop(key, (0, b""))
        keys = self._due.get(slot)
        if keys is not None:
            keys.discard(key)
            if not keys:
                del self._due[slot]
