"""The way onto the bus: `connect` gives a Bus, which keeps its tables published and its subscriptions alive.

Importing this makes no context, no thread and no descriptor: managers are forked from a process that has imported it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from pubsub import wire
from pubsub.changes import Synchronized
from pubsub.errors import BusError, Denied
from pubsub.link import Line, Link, Receiver
from pubsub.names import table_name
from pubsub.publisher import Publication, Table, refusal
from pubsub.streams import Follower, Stream
from pubsub.subscriber import Subscription

T = TypeVar("T")
DENIED_PATIENCE = 2.0  # seconds for a grant that is on the way, before `connect` gives up
GOODBYE_TIMEOUT = 0.5  # seconds for the hub to take the last words
SOCKET = Path("bus") / "hub.sock"


@contextlib.asynccontextmanager
async def connect(run_dir: Path, agent: str) -> AsyncIterator[Bus]:
    """Be on the bus. Waits for the hub as long as it takes, and heals by itself when the hub comes back.

    At the end all tables are released. Raises Denied when the hub knows no grant for this uid, and BusError when it
    speaks another version.
    """
    bus = Bus(agent, partial(Link, run_dir / SOCKET))
    try:
        await bus.welcomed()
        yield bus
    finally:
        await bus.close()


class Bus:
    """One client of the hub. `open_link` is given the Bus itself."""

    def __init__(self, agent: str, open_link: Callable[[Receiver], Line]) -> None:
        self._agent = agent
        self._client = secrets.token_hex(8)
        self._handle = 0  # the last one given; never used again
        self._publications: dict[int, Publication] = {}
        self._readers: WeakValueDictionary[int, Any] = WeakValueDictionary()  # Subscription, Follower
        self._control: deque[bytes] = deque()
        self._awake: dict[Publication, None] = {}
        self._is_welcome = False
        self._has_ended = False
        self._error: BusError | None = None
        self._denied_at = 0.0  # of the loop's clock; 0: not denied
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._scheduled: asyncio.Handle | None = None
        self._link = open_link(self)

    async def publish(
        self, type_: type[T], *, scope: str = "", initial: Mapping[str, T] | None = None, persistent: bool = False
    ) -> Table[T]:
        """Become the writer of `agent[/scope]/Type`, and make the table what `initial` says.

        Raises TableTaken, Denied, BadName, ValueTooLarge, TableFull.
        """
        name = table_name(self._agent, scope, type_.__name__)
        table: Table[T] = Table(name, self, initial or {}, persistent=persistent)
        self.begin(table)
        try:
            await table.claimed()
            await table.flush()
        except BaseException:
            self.end(table)
            self.answer(wire.Release(table.handle))
            raise
        return table

    def subscribe(self, type_: type[T], *, agent: str, scope: str = "") -> Subscription[T]:
        """Follow a table; with scope `*` those of every scope. Its iteration raises Denied. Raises BadName."""
        subscription = Subscription(type_, table_name(agent, scope, type_.__name__), self)
        self.begin(subscription)
        return subscription

    async def table(self, type_: type[T], *, agent: str, scope: str = "") -> dict[str, T]:
        """Give a table as it is now; the keys of all tables together with scope `*`. Raises Denied, BadName."""
        subscription = self.subscribe(type_, agent=agent, scope=scope)
        async for change in subscription:
            if isinstance(change, Synchronized):
                break
        subscription.close()
        return dict(subscription.current())

    async def forget(self, type_: type[Any], *, agent: str, scope: str = "") -> None:
        """Empty a table whose writer is gone for good; the hub drops it a minute later. Raises as `publish`."""
        table: Table[Any] = Table(table_name(agent, scope, type_.__name__), self, {}, persistent=False)
        self.begin(table)
        try:
            await table.claimed()
            await table.release()
        finally:
            self.end(table)

    async def open_stream(self, type_: type[T], *, scope: str = "", keep: int = 1000) -> Stream[T]:
        """Become the writer of a stream of which the hub keeps the last `keep` records.

        Raises TableTaken, Denied, BadName, TableFull.
        """
        stream: Stream[T] = Stream(table_name(self._agent, scope, type_.__name__), self, keep=keep)
        self.begin(stream)
        try:
            await stream.claimed()
        except BaseException:
            self.end(stream)
            self.answer(wire.Release(stream.handle))
            raise
        return stream

    def follow(self, type_: type[T], *, agent: str, scope: str = "", last: int = 100) -> Follower[T]:
        """Read a stream: at first the last records, then those that come. Its iteration raises Denied."""
        follower = Follower(type_, table_name(agent, scope, type_.__name__), self, last=last)
        self.begin(follower)
        return follower

    async def welcomed(self) -> None:
        """Wait until the hub knows us. Raises Denied when it refuses, and goes on refusing for a while."""
        while not self._is_welcome:
            if self._error is not None:
                raise self._error
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DENIED_PATIENCE):
                    await self._changed.wait()

    async def close(self) -> None:
        """Send what is left, give all tables up, and go."""
        if self._is_welcome:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_TIMEOUT):
                    await self._say_goodbye()
        if self._scheduled is not None:
            self._scheduled.cancel()
        self._link.close()

    # --- for publications and subscriptions ------------------------------------------------------------------------

    def begin(self, user: Publication | Subscription[Any] | Follower[Any]) -> None:
        """Give a publication or subscription a new handle, on which it begins."""
        self._publications.pop(user.handle, None)
        self._readers.pop(user.handle, None)
        self._handle += 1
        if isinstance(user, Subscription | Follower):
            self._readers[self._handle] = user
        else:
            self._publications[self._handle] = user
        if self._is_welcome:
            user.begin(self._handle)
        else:
            user.handle = self._handle

    def answer(self, frame: wire.Frame) -> None:
        """Queue a frame before everything else; void when the connection is."""
        if self._is_welcome:
            self._control.append(wire.encode(frame))
            self._soon()

    def send(self, frame: wire.Frame) -> bool:
        """Send a frame now, or not."""
        return self._link.send(wire.encode(frame))

    def wake(self, publication: Publication) -> None:
        """Have its `pump` called soon."""
        self._awake[publication] = None
        self._soon()

    def end(self, publication: Publication) -> None:
        """Forget a publication."""
        self._publications.pop(publication.handle, None)
        self._awake.pop(publication, None)

    # --- for the link ----------------------------------------------------------------------------------------------

    def received(self, frame: wire.ToClient) -> None:
        """Take a frame of the hub."""
        match frame:
            case wire.Greeting():
                self._is_welcome = False
                self._control.clear()
                self._control.append(wire.encode(wire.Hello(wire.VERSION, self._agent, self._client)))
                self._soon()
            case wire.Welcome():
                self._welcome()
            case wire.Goodbye():
                self._has_ended = True
                self._changed.set()
            case wire.Refused(handle=0):
                self._error = refusal(frame)
                self._changed.set()
            case wire.Beat():
                pass
            case _:
                self._pass_on(frame)

    def writable(self) -> None:
        """Go on sending."""
        self._soon()

    def denied(self) -> None:
        """Note that the hub refused us. The link tries again."""
        now = self._loop.time()
        self._denied_at = self._denied_at or now
        if now - self._denied_at > DENIED_PATIENCE and not self._is_welcome:
            self._error = Denied(f"the bus, for agent {self._agent}")
        self._changed.set()

    def _welcome(self) -> None:
        """Begin everything anew: publications first, so that the hub knows what is still ours."""
        self._is_welcome, self._denied_at, self._error = True, 0.0, None
        for publication in tuple(self._publications.values()):
            self.begin(publication)
        self.answer(wire.Resumed())
        for reader in tuple(self._readers.values()):
            self.begin(reader)
        self._changed.set()

    def _pass_on(self, frame: Any) -> None:
        user = self._publications.get(frame.handle, self._readers.get(frame.handle))
        if user is not None:
            user.received(frame)
        elif isinstance(frame, wire.Begin | wire.Changes | wire.Records):
            self.answer(wire.Cancel(frame.handle))  # its reader is gone

    async def _say_goodbye(self) -> None:
        for publication in tuple(self._publications.values()):
            with contextlib.suppress(BusError):
                await publication.flush()
        self.answer(wire.Bye())
        while not self._has_ended:
            self._changed.clear()
            await self._changed.wait()

    def _soon(self) -> None:
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = None
        while self._control:
            if not self._link.send(self._control[0]):
                return
            self._control.popleft()
        for publication in tuple(self._awake):
            if not publication.pump():
                return
            self._awake.pop(publication, None)
