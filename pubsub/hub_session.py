"""One client as the hub knows it: what it writes, what it follows, and what still has to be told to it."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

from pubsub.acl import Peer
from pubsub.hub_stream import Stream
from pubsub.hub_table import Owner, Table
from pubsub.limits import CONTROL_LIMIT
from pubsub.wire import Ack, Complete, Frame, Synchronized, encode

BURST = 32  # messages to one client before the others have their turn
FIRST_DELAY = 0.001  # seconds until a full client is tried again; doubles
LAST_DELAY = 0.128  # seconds; a stopped client costs eight tries a second


class Source(Protocol):
    """Anything that has frames for a client."""

    def has_more(self) -> bool:
        """Tell whether something waits."""

    def next_frame(self) -> Frame:
        """Take the next frame out."""


@dataclasses.dataclass(eq=False)
class Claim:
    """A publication of a client."""

    handle: int
    table: Table | Stream
    owner: Owner
    marked: set[str] | None  # keys put since the claim, until the table is whole; None: it is


@dataclasses.dataclass(eq=False)
class Subscription:
    """A subscription of a client."""

    pattern: str
    feeds: dict[str, Source] = dataclasses.field(default_factory=dict)  # by table
    waiting: set[str] = dataclasses.field(default_factory=set)  # tables whose snapshot is not complete
    told: bool = False  # that it is synchronized


class Session:
    """State of one connection after its hello. Sends nothing itself: `pump` is given the way to."""

    def __init__(self, route: bytes, peer: Peer, client: str, agent: str, awake: dict[Session, None]) -> None:
        self.route = route
        self.peer = peer
        self.client = client
        self.agent = agent
        self.claims: dict[int, Claim] = {}
        self.former: dict[int, Claim] = {}  # of the connection before, until the client has resumed
        self.subscriptions: dict[int, Subscription] = {}
        self.lost_at = 0.0  # monotonic; 0: connected
        self.retry_at = 0.0  # monotonic; 0: not blocked
        self._awake = awake  # sessions with something to send; shared with the broker
        self._delay = FIRST_DELAY
        self._control: deque[Frame] = deque()
        self._acks: dict[int, int] = {}
        self._ready: OrderedDict[Source, None] = OrderedDict()
        self._held = b""  # a message that the socket didn't take yet

    def answer(self, frame: Frame) -> None:
        """Queue an answer."""
        self._control.append(frame)
        self._awake[self] = None

    def acknowledge(self, handle: int, number: int) -> None:
        """Queue an acknowledgement; only the last one of a publication counts."""
        self._acks[handle] = number
        self._awake[self] = None

    def wake(self, source: Source) -> None:
        """Note that the source has something to tell."""
        self._ready[source] = None
        self._awake[self] = None

    def forget(self, source: Source) -> None:
        """Drop a source whose subscription has ended."""
        self._ready.pop(source, None)

    def is_flooded(self) -> bool:
        """Tell whether the client asks without reading."""
        return len(self._control) > CONTROL_LIMIT

    def has_more(self) -> bool:
        """Tell whether something waits for the client."""
        return bool(self._held or self._control or self._acks or self._ready)

    def pump(self, send: Callable[[bytes, bytes], bool], now: float) -> None:
        """Send until the socket takes no more, or others should have their turn. `now` is monotonic.

        Sets `retry_at` when the socket is full. Raises what `send` raises.
        """
        for _ in range(BURST):
            message = self._held or self._next_message()
            if not message:
                break
            if not send(self.route, message):
                self._held = message
                self.retry_at = now + self._delay
                self._delay = min(2 * self._delay, LAST_DELAY)
                return
            self._held = b""
            self._delay = FIRST_DELAY
        self.retry_at = 0.0

    def _next_message(self) -> bytes:
        if self._control:
            return encode(self._control.popleft())
        if self._acks:
            return encode(Ack(*self._acks.popitem()))
        while self._ready:
            source, _ = self._ready.popitem(last=False)
            if not source.has_more():
                continue
            frame = source.next_frame()
            if source.has_more():
                self._ready[source] = None
            if isinstance(frame, Complete):
                self._completed(frame)
            return encode(frame)
        return b""

    def _completed(self, frame: Complete) -> None:
        subscription = self.subscriptions.get(frame.handle)
        if subscription is None:
            return
        subscription.waiting.discard(frame.table)
        if not subscription.waiting and not subscription.told:
            subscription.told = True
            self.answer(Synchronized(frame.handle))
