"""The hub's decisions and the clients', joined by queues in place of sockets: thousands of steps in a second.

Sending may be refused at any moment, connections may break, the hub may start anew from its files: at the end every
reader has the writer's exact table.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import deque
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pubsub
from pubsub import wire
from pubsub.acl import Acl, Peer
from pubsub.hub_broker import Broker, PeerGone
from pubsub.hub_rates import Rates
from pubsub.link import Receiver
from pubsub.store import Store
from pubsub.topics import Message
from pubsub.wire import Malformed, decode_to_client

SELF = Peer(0, 0, os.getpid())
KEYS = ["a", "b", "c"]
SETTLE_ROUNDS = 200  # turns of everything; far more than any resync needs


class Note(Message, frozen=True):
    """A text."""

    text: str = ""


class Queues:
    """A client's connection: two queues, both bounded, that can break."""

    def __init__(self, hub: Hub, receiver: Receiver) -> None:
        self.receiver = receiver
        self.hub = hub
        self.route = b""
        self.to_hub: deque[bytes] = deque()
        self.to_client: deque[bytes] = deque()
        self.is_full = False
        self.connect()

    def connect(self) -> None:
        """Have a new connection; what was under way is lost."""
        self.hub.links.pop(self.route, None)
        self.route = os.urandom(5)
        self.hub.links[self.route] = self
        self.to_hub.clear()
        self.to_client.clear()
        self.to_hub.append(b"")

    def send(self, message: bytes) -> bool:
        if len(self.to_hub) >= 3:
            self.is_full = True
            return False
        self.to_hub.append(message)
        return True

    def close(self) -> None:
        self.hub.links.pop(self.route, None)

    def step_client(self) -> None:
        """Let the client take one message."""
        if self.to_client:
            self.receiver.received(decode_to_client(self.to_client.popleft()))
        if self.is_full and len(self.to_hub) < 3:
            self.is_full = False
            self.receiver.writable()


class Hub:
    """A broker that can be started anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.links: dict[bytes, Queues] = {}
        self.broker = self._start()

    def _start(self) -> Broker:
        broker = Broker(Acl(0), Store(self.folder / "tables", self.folder / "bus"), self.send, Rates(lambda _: None))
        broker.load()
        return broker

    def restart(self) -> None:
        """Die, with what isn't committed, and begin again."""
        self.broker._watcher.close()
        self.broker = self._start()
        for link in tuple(self.links.values()):
            link.connect()

    def send(self, route: bytes, message: bytes) -> bool:
        link = self.links.get(route)
        if link is None:
            raise PeerGone
        if len(link.to_client) >= 2:
            return False
        link.to_client.append(message)
        return True

    def step(self, link: Queues) -> None:
        """Take one message of a client."""
        if link.to_hub:
            self.broker.receive(link.route, SELF, link.to_hub.popleft())

    def pump(self) -> None:
        """Tell what can be told, without waiting for back-off."""
        for session in self.broker.sessions.values():
            session.retry_at = 0.0
        self.broker._resend_at = 0.0
        self.broker.pump()


class World:
    """One hub, one writer, two readers."""

    def __init__(self, folder: Path) -> None:
        self.hub = Hub(folder)
        self.buses: list[pubsub.Bus] = []
        self.links: list[Queues] = []
        for agent in ("writer", "reader", "reader"):
            self.buses.append(pubsub.Bus(agent, self._open))
        self.table: pubsub.Table[Note] | None = None
        self.known: list[dict[str, str]] = []
        self.readers: list[asyncio.Task[None]] = []

    def _open(self, receiver: Receiver) -> Queues:
        self.links.append(Queues(self.hub, receiver))
        return self.links[-1]

    async def begin(self) -> None:
        """Claim the table and follow it."""
        publishing = asyncio.create_task(self.buses[0].publish(Note))
        await self.settle()
        self.table = await publishing
        for bus in self.buses[1:]:
            known: dict[str, str] = {}
            self.known.append(known)
            self.readers.append(asyncio.create_task(self._read(bus.subscribe(Note, agent="writer"), known)))

    async def _read(self, subscription: pubsub.Subscription[Note], known: dict[str, str]) -> None:
        async for change in subscription:
            match change:
                case pubsub.Created(key=key, value=value):
                    assert key not in known
                    known[key] = value.text
                case pubsub.Modified(key=key, value=value, old=old):
                    assert known[key] == old.text != value.text
                    known[key] = value.text
                case pubsub.Deleted(key=key, old=old):
                    assert known.pop(key) == old.text

    async def settle(self, rounds: int = SETTLE_ROUNDS) -> None:
        """Let everything have its way."""
        for _ in range(rounds):
            for link in self.links:
                self.hub.step(link)
            self.hub.pump()
            for link in self.links:
                link.step_client()
            await asyncio.sleep(0)

    async def do(self, step: tuple[str, int, int]) -> None:
        """Do one step of an example."""
        what, number, other = step
        assert self.table is not None
        link = self.links[number % len(self.links)]
        match what:
            case "set":
                self.table[KEYS[number % 3]] = Note(text=str(other))
            case "delete":
                self.table.pop(KEYS[number % 3], None)
            case "replace":
                self.table.replace({key: Note(text=str(other)) for key in KEYS[: number % 4]})
            case "hub takes":
                self.hub.step(link)
            case "hub tells":
                self.hub.pump()
            case "client takes":
                link.step_client()
            case "break":
                link.connect()
            case "restart":
                self.hub.restart()
            case "loop":
                await asyncio.sleep(0)
            case "settle":
                await self.settle(20)

    async def end(self) -> None:
        """Check, and leave nothing."""
        await self.settle()
        assert self.table is not None
        expected = {key: note.text for key, note in self.table.items()}
        for reader in self.readers:
            assert not reader.done() or reader.result() is None
        assert self.known == [expected, expected]
        assert not self.table._dirty
        assert self.table._acknowledged == self.table._number
        for reader in self.readers:
            reader.cancel()
        self.hub.broker.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["set", "delete", "delete", "replace", "hub takes", "hub tells", "client takes", "loop",
                         "break", "break", "restart", "settle"]),
        st.integers(0, 11),
        st.integers(0, 2),
    ),
    min_size=60,
    max_size=150,
)  # fmt: skip


@settings(max_examples=int(os.environ.get("NSVISOR_EXAMPLES", "40")), deadline=None, database=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(steps=STEPS)
def test_every_reader_ends_with_the_writers_exact_table(steps: list[tuple[str, int, int]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="bus") as folder:
            world = World(Path(folder))
            await world.begin()
            for step in steps:
                await world.do(step)
            await world.end()

    asyncio.run(run())


@pytest.mark.parametrize("last", ["goodbye", "greeting", "refused"])
def test_an_answer_that_finds_no_room_comes_later(tmp_path: Path, last: str) -> None:
    async def run() -> None:
        hub = Hub(tmp_path)
        bus = pubsub.Bus("reader", lambda receiver: Queues(hub, receiver))
        link = hub.links[next(iter(hub.links))]

        def ask(frame: wire.Frame) -> None:
            hub.broker.receive(link.route, SELF, wire.encode(frame))

        hub.step(link)
        ask(wire.Hello(wire.VERSION, "reader", "client"))
        hub.pump()
        assert not hub.send(link.route, b"")  # a greeting and a welcome: there is no room
        match last:
            case "goodbye":
                ask(wire.Bye())
            case "greeting":
                hub.broker.greet(link.route)
            case "refused":
                ask(wire.Hello(wire.VERSION + 1, "reader", "client"))
        link.to_client.clear()
        assert hub.broker.next_retry() is not None
        hub.pump()
        assert [decode_to_client(message).__class__.__name__.lower() for message in link.to_client] == [last]
        assert hub.broker.next_retry() is None
        await bus.close()
        hub.broker.close()

    asyncio.run(run())


def test_what_is_no_frame_is_malformed_and_nothing_else() -> None:
    for data in (b"", b"\x00", b"\xc1", b"\x91" * 10_000, os.urandom(100)):
        with pytest.raises(Malformed):
            decode_to_client(data)
