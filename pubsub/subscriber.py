"""The reader's side of tables: an async iterator of typed changes, merged per key while its reader is busy."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from typing import Generic, Self, TypeVar

from pubsub import names, wire
from pubsub.changes import Change, Created, Deleted, Modified, Restarted, Stale, Synchronized
from pubsub.codec import CodecError, decode
from pubsub.errors import BusError
from pubsub.publisher import Sender, refusal

T = TypeVar("T")
C = TypeVar("C")  # what a reader gets
log = logging.getLogger("pubsub")


class Note(enum.Enum):
    """What waits for the reader beside keys, with the table's name ('' for the last)."""

    RESTARTED = 1
    STALE = 2
    SYNCHRONIZED = 3


Key = tuple[str, str]  # table, key
Waiting = Key | tuple[str, Note]


class Reader(AsyncIterator[C]):
    """What subscriptions and followers share: one reader waits for what comes, until `close` or nobody holds it."""

    def __init__(self, sender: Sender) -> None:
        self.handle = 0  # of this connection; 0: none yet
        self._sender = sender
        self._error: BusError | None = None
        self._is_closed = False
        self._changed = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> C:
        """Wait for what comes next. Raises Denied; ends after `close`."""
        while (found := self._next()) is None:
            if self._error is not None:
                raise self._error
            if self._is_closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return found

    def close(self) -> None:
        """End it; what waits is dropped."""
        self._is_closed = True
        self._drop()
        self._changed.set()
        self._sender.answer(wire.Cancel(self.handle))

    def begin(self, handle: int) -> None:
        """Ask, on a new connection."""
        self.handle = handle
        if not self._is_closed and self._error is None:
            self._sender.answer(self._question())

    def received(self, frame: wire.ToClient) -> None:
        """Take a frame that carries the handle."""
        if isinstance(frame, wire.Refused):
            self._error = refusal(frame)
        else:
            self._take(frame)
        self._changed.set()

    def _question(self) -> wire.Frame:
        """Return the frame that asks the hub for what is wanted, from the beginning."""
        raise NotImplementedError

    def _take(self, frame: wire.ToClient) -> None:
        """Keep what a frame brings."""
        raise NotImplementedError

    def _next(self) -> C | None:
        """Return what waits first; None when nothing does."""
        raise NotImplementedError

    def _drop(self) -> None:
        """Forget what waits."""
        raise NotImplementedError


class Subscription(Reader[Change[T]], Generic[T]):
    """Made by `Bus.subscribe`."""

    def __init__(self, type_: type[T], pattern: str, sender: Sender) -> None:
        super().__init__(sender)
        self.pattern = pattern
        self._type = type_
        self._told: dict[str, dict[str, T]] = {}  # by table: what the reader knows
        self._waiting: OrderedDict[Waiting, bytes | float | None] = OrderedDict()
        self._marked: dict[str, set[str]] = {}  # by table: keys seen since Begin, until Complete
        self._begun: set[str] = set()  # tables that this connection has named
        self._sequence: dict[str, int] = {}  # by table: that the last Changes told
        self._starts: dict[str, int] = {}  # by table: writers that the reader knows of
        self._stale: dict[str, float] = {}  # by table: as the reader knows it

    def current(self) -> Iterator[tuple[str, T]]:
        """Give what the reader knows, as (key, value) of all tables."""
        for entries in self._told.values():
            yield from entries.items()

    def _question(self) -> wire.Frame:
        self._marked.clear()
        self._begun.clear()
        return wire.Subscribe(self.handle, self.pattern)

    def _drop(self) -> None:
        self._waiting.clear()

    def _next(self) -> Change[T] | None:
        while self._waiting:
            change = self._next_change(*self._waiting.popitem(last=False))
            if change is not None:
                return change
        return None

    def _take(self, frame: wire.ToClient) -> None:
        match frame:
            case wire.Changes():
                self._take_changes(frame)
            case wire.Begin():
                self._begun.add(frame.table)
                self._marked[frame.table] = set()
                self._sequence[frame.table] = 0
                self._note_writer(frame.table, frame.starts, frame.stale_since)
            case wire.Complete():
                self._sweep(frame.table, self._marked.pop(frame.table, set()))
            case wire.Synchronized():
                for table in self._known_tables() - self._begun:
                    self._sweep(table, set())
                self._waiting["", Note.SYNCHRONIZED] = None
                self._waiting.move_to_end(("", Note.SYNCHRONIZED))
            case wire.Restarted():
                self._note_writer(frame.table, frame.starts, 0.0)
            case wire.Stale():
                self._note_writer(frame.table, self._starts.get(frame.table, 0), frame.since)

    def _take_changes(self, frame: wire.Changes) -> None:
        if frame.previous != self._sequence.get(frame.table, 0):
            log.warning("%s: changes are missing, beginning anew", frame.table)
            self._sender.answer(wire.Cancel(self.handle))
            self._sender.begin(self)
            return
        self._sequence[frame.table] = frame.sequence
        marked = self._marked.get(frame.table)
        for key, value in frame.entries:
            if marked is not None and value is not None:
                marked.add(key)
            self._set(frame.table, key, value)

    def _set(self, table: str, key: str, value: bytes | None) -> None:
        if value is None and key not in self._told.get(table, {}):
            self._waiting.pop((table, key), None)  # came and went unseen
        else:
            self._waiting[table, key] = value

    def _sweep(self, table: str, marked: set[str]) -> None:
        waiting = {key for name, key in self._waiting if name == table and isinstance(key, str)}
        for key in (waiting | self._told.get(table, {}).keys()) - marked:
            self._set(table, key, None)

    def _known_tables(self) -> set[str]:
        return {*self._told, *(table for table, key in self._waiting if isinstance(key, str))}

    def _note_writer(self, table: str, starts: int, since: float) -> None:
        known = self._starts.get(table)
        if known is not None and starts != known:
            self._waiting[table, Note.RESTARTED] = starts
        self._starts[table] = starts
        if since and since != self._stale.get(table):
            self._waiting[table, Note.STALE] = since
        elif not since and self._waiting.pop((table, Note.STALE), None) is None and self._stale.get(table):
            self._waiting[table, Note.RESTARTED] = starts  # the reader takes its writer for gone
        self._stale[table] = since

    def _next_change(self, waiting: Waiting, value: bytes | float | None) -> Change[T] | None:
        table, key = waiting
        scope = names.scope_of(table)
        match key:
            case Note.SYNCHRONIZED:
                return Synchronized(table=self.pattern, scope=names.scope_of(self.pattern))
            case Note.RESTARTED if isinstance(value, int):
                return Restarted(table=table, scope=scope, count=value)
            case Note.STALE if isinstance(value, float):
                return Stale(table=table, scope=scope, since=value)
            case str() if value is None or isinstance(value, bytes):
                return self._key_change(table, scope, key, value)
        raise AssertionError(waiting)

    def _key_change(self, table: str, scope: str, key: str, value: bytes | None) -> Change[T] | None:
        told = self._told.setdefault(table, {})
        if value is None:
            return Deleted(table=table, scope=scope, key=key, old=told.pop(key)) if key in told else None
        try:
            new = decode(self._type, value)
        except CodecError as exc:  # one writer's fault must not end the reader; it keeps what it had
            log.error("%s: %s: %s", table, key, exc)  # noqa: TRY400  # no trace of ours would help
            return None
        if key not in told:
            told[key] = new
            return Created(table=table, scope=scope, key=key, value=new)
        old, told[key] = told[key], new
        return Modified(table=table, scope=scope, key=key, value=new, old=old) if old != new else None
