"""Streams beside tables: numbered records, a bounded number of them kept, every loss counted and told to the reader."""

from __future__ import annotations

import logging
from collections import deque
from typing import Generic, TypeVar

from pubsub import wire
from pubsub.changes import Lost, Record
from pubsub.codec import CodecError, decode, encode
from pubsub.errors import ValueTooLarge
from pubsub.limits import BATCH_LIMIT, MIB, VALUE_LIMIT
from pubsub.publisher import Claim, Sender
from pubsub.subscriber import Reader

T = TypeVar("T")
HOLD_LIMIT = 4 * MIB  # bytes that one end holds while the hub is away or its reader is busy; then the oldest are lost
ALL = 1_000_000_000  # records: after a reconnect a reader wants whatever it missed
log = logging.getLogger("pubsub")


class Stream(Claim, Generic[T]):
    """The writer's side, made by `Bus.open_stream`. Appending never waits; what can't be held is lost and counted."""

    def __init__(self, name: str, sender: Sender, *, keep: int) -> None:
        super().__init__(name, sender)
        self._keep = keep
        self._base = 0  # of the hub: number before our first record
        self._count = 0  # records appended; the last one's own number
        self._sent = 0  # own number of the last record sent
        self._held: deque[tuple[int, bytes]] = deque()  # not acknowledged
        self._size = 0  # bytes held

    def append(self, record: T) -> None:
        """Add a record. Raises ValueTooLarge."""
        if self._error is not None:
            raise self._error
        encoded = encode(record)
        if len(encoded) > VALUE_LIMIT:
            raise ValueTooLarge(f"{self.name}: a record has {len(encoded)} bytes; {VALUE_LIMIT} are the limit")
        self._count += 1
        self._held.append((self._count, encoded))
        self._size += len(encoded)
        while len(self._held) > self._keep or self._size > HOLD_LIMIT:
            self._drop_first()
        self._sender.wake(self)

    async def flush(self) -> None:
        """Wait until the hub has all that was appended so far. Raises what the hub refused."""
        count = self._count
        await self._until(lambda: self._is_claimed and (not self._held or self._held[0][0] > count))

    def begin(self, handle: int) -> None:
        """Claim, on a new connection."""
        self.handle = handle
        self._is_claimed = False
        if self._error is None:
            self._sender.answer(wire.OpenStream(handle, self.name, self._epoch, self._keep, self._base))
        else:
            self._is_released = True  # the hub ends what isn't claimed again
            self._changed.set()

    def received(self, frame: wire.ToClient) -> None:
        """Take a frame that carries the handle."""
        if isinstance(frame, wire.Claimed):
            self._base, self._sent = frame.base, frame.last
            self._forget(frame.last)
            self._sender.wake(self)
        elif isinstance(frame, wire.Ack):
            self._forget(frame.number)
        self._answered(frame)

    def pump(self) -> bool:
        """Send what is due; False when the link took not all."""
        while self._is_claimed and self._held and self._held[-1][0] > self._sent:
            first = max(self._sent + 1, self._held[0][0])
            records = self._take(first)
            if not self._sender.send(wire.Append(self.handle, first, records)):
                return False
            self._sent = first + len(records) - 1
        return True

    def _take(self, first: int) -> tuple[bytes, ...]:
        records: list[bytes] = []
        size = 0
        for index in range(first - self._held[0][0], len(self._held)):
            value = self._held[index][1]
            size += len(value)
            if records and size > BATCH_LIMIT:
                break
            records.append(value)
        return tuple(records)

    def _forget(self, number: int) -> None:
        while self._held and self._held[0][0] <= number:
            self._drop_first()

    def _drop_first(self) -> None:
        self._size -= len(self._held.popleft()[1])


class Follower(Reader[Record[T] | Lost], Generic[T]):
    """The reader's side, made by `Bus.follow`. It gets records, and the news that some are lost."""

    def __init__(self, type_: type[T], name: str, sender: Sender, *, last: int) -> None:
        super().__init__(sender)
        self.name = name
        self._type = type_
        self._last = last
        self._incarnation = 0  # of the stream; 0: not yet known
        self._received = 0  # number of the last record that came; 0: none
        self._expected = 0  # number of the record that the reader should get next; 0: any
        self._held: deque[tuple[int, bytes]] = deque()
        self._size = 0  # bytes held

    def _question(self) -> wire.Frame:
        last = ALL if self._received else self._last
        return wire.Follow(self.handle, self.name, last, self._received, self._incarnation)

    def _drop(self) -> None:
        self._held.clear()
        self._size = 0

    def _take(self, frame: wire.ToClient) -> None:
        if isinstance(frame, wire.Records):
            if self._incarnation not in (0, frame.incarnation):
                self._expected = 0  # another stream under that name: its numbers begin anew
            self._incarnation = frame.incarnation
            for number, value in enumerate(frame.records, frame.first):
                self._held.append((number, value))
                self._size += len(value)
            self._received = frame.first + len(frame.records) - 1
            while self._size > HOLD_LIMIT and len(self._held) > 1:
                self._size -= len(self._held.popleft()[1])

    def _next(self) -> Record[T] | Lost | None:
        while self._held:
            found = self._next_record()
            if found is not None:
                return found
        return None

    def _next_record(self) -> Record[T] | Lost | None:
        number, value = self._held[0]
        if 0 < self._expected < number:
            lost = Lost(number - self._expected)
            self._expected = number
            return lost
        self._held.popleft()
        self._size -= len(value)
        try:
            record = Record(number, decode(self._type, value))
        except CodecError as exc:  # told as lost, with the next one
            log.error("%s: record %d: %s", self.name, number, exc)  # noqa: TRY400  # a writer's fault, no trace of ours
            self._expected = self._expected or number
            return None
        self._expected = number + 1
        return record
