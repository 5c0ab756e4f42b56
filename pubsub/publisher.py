"""The writer's side of a table: a mutable mapping whose differences go to the hub."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol, TypeVar

from pubsub import wire
from pubsub.codec import encode
from pubsub.errors import BadName, BusError, Denied, TableFull, TableTaken, ValueTooLarge
from pubsub.limits import BATCH_LIMIT, KEY_LIMIT, KEYS_LIMIT, TABLE_LIMIT, VALUE_LIMIT

T = TypeVar("T")


class Publication(Protocol):
    """What a Bus needs of a table or stream to keep it published."""

    name: str
    handle: int

    def begin(self, handle: int) -> None:
        """Claim, on a new connection."""

    def received(self, frame: wire.ToClient) -> None:
        """Take a frame that carries the handle."""

    def pump(self) -> bool:
        """Send what is due; False when the link took not all."""

    async def flush(self) -> None:
        """Wait until the hub has everything."""


class Sender(Protocol):
    """What a publication needs of its Bus."""

    def answer(self, frame: wire.Frame) -> None:
        """Queue a frame before everything else."""

    def send(self, frame: wire.Frame) -> bool:
        """Send a frame now, or not."""

    def wake(self, publication: Publication) -> None:
        """Have `pump` called soon."""

    def begin(self, user: Any) -> None:
        """Give a publication or subscription a new handle, on which it begins."""

    def end(self, publication: Publication) -> None:
        """Forget the publication."""


class Claim:
    """What tables and streams share: being claimed, acknowledged and released."""

    def __init__(self, name: str, sender: Sender) -> None:
        self.name = name
        self.handle = 0  # of this connection; 0: none yet
        self._sender = sender
        self._epoch = random.getrandbits(52) | 1
        self._is_claimed = False
        self._number = 0  # of the last frame sent
        self._acknowledged = 0
        self._error: BusError | None = None
        self._is_released = False
        self._changed = asyncio.Event()  # set at each answer of the hub

    async def claimed(self) -> None:
        """Wait until the hub has agreed. Raises TableTaken, Denied, BadName, TableFull."""
        await self._until(lambda: self._is_claimed)

    async def release(self) -> None:
        """Give the table up. It stays at the hub, as stale. Also called at the end of the bus."""
        if self._is_released:
            return
        if self._error is None:
            await self.flush()
        self._error = self._error or BusError(f"{self.name} was released")
        self._sender.answer(wire.Release(self.handle))
        while not self._is_released:
            await self._next_answer()
        self._sender.end(self)

    async def flush(self) -> None:
        """Wait until the hub has all that was set so far (on disk, if persistent). Raises what the hub refused."""
        raise NotImplementedError

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._error is not None:
                raise self._error
            await self._next_answer()
        if self._error is not None:
            raise self._error

    async def _next_answer(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _answered(self, frame: wire.ToClient) -> None:
        match frame:
            case wire.Ack():
                self._acknowledged = max(self._acknowledged, frame.number)
            case wire.Claimed():
                self._is_claimed = True
            case wire.Released():
                self._is_released = True
            case wire.Refused():
                self._error = refusal(frame)
                if not self._is_claimed:
                    self._is_released = True
        self._changed.set()


class Table(Claim, MutableMapping[str, T]):
    """Made by `Bus.publish`. Setting an equal value sends nothing; what the hub can't take yet is merged per key."""

    def __init__(self, name: str, sender: Sender, initial: Mapping[str, T], *, persistent: bool) -> None:
        super().__init__(name, sender)
        self._persistent = persistent
        self._values: dict[str, T] = {}
        self._encoded: dict[str, bytes] = {}
        self._size = 0  # bytes of keys and values
        self._dirty: dict[str, None] = {}
        self._whole_due = True  # since the claim, `Whole` was not sent yet
        for key, value in initial.items():
            self[key] = value

    def __getitem__(self, key: str) -> T:
        return self._values[key]

    def __setitem__(self, key: str, value: T) -> None:
        """Set a key. Raises ValueTooLarge and TableFull; then nothing has changed."""
        if self._error is not None:
            raise self._error
        encoded = encode(value)
        if self._encoded.get(key) == encoded:
            return
        self._check(key, encoded)
        self._size += len(encoded) + len(key) - self._size_of(key)
        self._values[key], self._encoded[key] = value, encoded
        self._touch(key)

    def __delitem__(self, key: str) -> None:
        if self._error is not None:
            raise self._error
        del self._values[key]
        self._size -= self._size_of(key)
        del self._encoded[key]
        self._touch(key)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def replace(self, values: Mapping[str, T]) -> None:
        """Set the whole table; only differences are sent."""
        for key in self._values.keys() - values.keys():
            del self[key]
        for key, value in values.items():
            self[key] = value

    async def flush(self) -> None:
        """Wait until the hub has all that was set so far (on disk, if persistent). Raises what the hub refused."""
        await self._until(lambda: not self._dirty and not self._whole_due and self._is_claimed)
        number = self._number
        handle = self.handle
        await self._until(lambda: self._acknowledged >= number or self.handle != handle)
        if self.handle != handle:  # the hub was restarted in between, and gets everything again
            await self.flush()

    def begin(self, handle: int) -> None:
        """Claim, on a new connection."""
        self.handle = handle
        self._is_claimed, self._whole_due = False, True
        self._number = self._acknowledged = 0
        self._dirty = dict.fromkeys(self._values)
        if self._error is None:
            self._sender.answer(wire.Publish(handle, self.name, self._epoch, self._persistent))
        else:
            self._is_released = True  # the hub ends what isn't claimed again
            self._changed.set()

    def received(self, frame: wire.ToClient) -> None:
        """Take a frame that carries the handle."""
        self._answered(frame)
        if isinstance(frame, wire.Claimed):
            self._sender.wake(self)

    def pump(self) -> bool:
        """Send what is due; False when the link took not all."""
        if not self._is_claimed:
            return True
        while self._dirty:
            entries = self._take()
            if not self._sender.send(wire.Put(self.handle, self._number + 1, entries)):
                return False
            self._number += 1
            for key, _ in entries:
                del self._dirty[key]
        if self._whole_due:
            if not self._sender.send(wire.Whole(self.handle, self._number + 1)):
                return False
            self._number += 1
            self._whole_due = False
        self._changed.set()
        return True

    def _take(self) -> tuple[wire.Entry, ...]:
        entries: list[wire.Entry] = []
        size = 0
        for key in self._dirty:
            value = self._encoded.get(key)
            size += len(value or b"") + len(key)
            if entries and size > BATCH_LIMIT:
                break
            entries.append((key, value))
        return tuple(entries)

    def _touch(self, key: str) -> None:
        self._dirty[key] = None
        self._sender.wake(self)

    def _size_of(self, key: str) -> int:
        return len(self._encoded[key]) + len(key) if key in self._encoded else 0

    def _check(self, key: str, encoded: bytes) -> None:
        if len(encoded) > VALUE_LIMIT:
            raise ValueTooLarge(f"{self.name}: {key!r} has {len(encoded)} bytes; {VALUE_LIMIT} are the limit")
        if len(key.encode()) > KEY_LIMIT:
            raise ValueTooLarge(f"{self.name}: {key[:40]!r}… is no key; texts up to {KEY_LIMIT} bytes are")
        size = self._size + len(encoded) + len(key) - self._size_of(key)
        if size > TABLE_LIMIT or (key not in self._encoded and len(self) >= KEYS_LIMIT):
            raise TableFull(f"{self.name}: {KEYS_LIMIT} keys and {TABLE_LIMIT} bytes are the limit")


def refusal(frame: wire.Refused) -> BusError:
    """Say a refusal of the hub in our words."""
    match frame.code:
        case "denied":
            return Denied(frame.text)
        case "taken":
            return TableTaken(frame.text)
        case "full":
            return TableFull(frame.text)
        case _:
            return BadName(frame.text)
