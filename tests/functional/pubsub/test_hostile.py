"""Stopped readers, floods and garbage cost the others nothing, and the hub little."""

from __future__ import annotations

import random
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack  # type: ignore[import-untyped]  # ships no types
import pytest
import zmq

from pubsub.limits import FRAME_LIMIT, MIB
from tests.functional.pubsub.processes import Actor, Hub
from tests.functional.pubsub.test_restarts import sees
from tests.hosts.waiting import DEADLINE

Start = Callable[..., Actor]
SIGNATURE = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)  # ZMTP 3.0's greeting, RFC 23


@pytest.fixture
def dealer(hub: Hub, actor: Start) -> Iterator[zmq.Socket[bytes]]:
    """A bare ZeroMQ socket, connected."""
    actor("first").ask("table", agent="nobody")
    context = zmq.Context()
    made = context.socket(zmq.DEALER)
    made.linger = 0
    made.connect(f"ipc://{hub.run_dir}/bus/hub.sock")
    yield made
    made.close()
    context.term()


def hello(dealer: zmq.Socket[bytes]) -> None:
    """Begin a session."""
    dealer.send(msgpack.packb(["hello", 1, "writer", "c1"]))
    assert msgpack.unpackb(dealer.recv())[0] == "welcome"


def test_a_stopped_reader_costs_bounded_memory_and_gets_the_last_values(hub: Hub, actor: Start) -> None:
    writer, stopped, reader = actor("writer"), actor("stopped"), actor("reader")
    writer.ask("publish")
    for one in (stopped, reader):
        one.ask("subscribe", agent="writer")
    stopped.ask("table", agent="writer")
    stopped.process.send_signal(signal.SIGSTOP)
    before = hub.memory()
    for number in range(400):
        writer.ask("set", key=str(number % 4), text="x" if number % 2 else "y", size=100_000 + number)
        writer.ask("flush")
    last = {str(n % 4): ("x" if n % 2 else "y") * (100_000 + n) for n in range(396, 400)}
    sees(reader, last)
    assert hub.memory() - before < 24 * MIB  # 40 MB were sent
    stopped.process.send_signal(signal.SIGCONT)
    sees(stopped, last)


def test_keys_that_come_and_go_do_not_pile_up_for_a_stopped_reader(hub: Hub, actor: Start) -> None:
    writer, stopped = actor("writer"), actor("stopped")
    writer.ask("publish", initial={"a": "1"})
    stopped.ask("subscribe", agent="writer")
    sees(stopped, {"a": "1"})
    stopped.process.send_signal(signal.SIGSTOP)
    before = hub.memory()
    for number in range(40):
        writer.ask("replace", values={f"{number}-{i}-{'k' * 200}": "1" for i in range(1000)})
        writer.ask("flush")
    writer.ask("replace", values={"a": "2"})
    writer.ask("flush")
    assert hub.memory() - before < 16 * MIB  # the names alone are 40,000 x 210 bytes, thrice
    stopped.process.send_signal(signal.SIGCONT)
    sees(stopped, {"a": "2"})


def test_nobody_waits_for_a_stopped_reader(actor: Start) -> None:
    """All of this comes to its end while they stand still, and more is sent than their sockets hold."""
    writer, reader = actor("writer"), actor("reader")
    writer.ask("publish")
    for _ in range(5):
        stopped = actor("stopped")
        stopped.ask("subscribe", agent="writer")
        stopped.process.send_signal(signal.SIGSTOP)
    for number in range(50):
        writer.ask("set", key="a", text=str(number % 10), size=100_000)
        writer.ask("flush")
    assert reader.ask("table", agent="writer") == {"a": "9" * 100_000}


FRAMES: list[object] = [
    [],
    [1],
    ["nothing"],
    {"hello": 1},
    None,
    ["hello"],
    ["hello", 1, 2, 3],
    ["put", 1, 1, [["a", 5]]],
    ["put", 1 << 70, 1, []],
    ["publish", 1, "a/b"],
    ["publish", -1, "a/b", -5, True],
    ["publish", 2, "../../etc/passwd", 1, True],
    ["publish", 3, "hub/TableStatus", 1, False],
    ["publish", 4, "*/*", 1, False],
    ["subscribe", 1, ""],
    ["subscribe", 1, "*/*/*/*"],
    ["subscribe", 5, "*/*/*"],
    ["follow", 7, "a/*", 5],
    ["follow", 6, "writer/Log", -5],
    ["open", 8, "writer/Log", 1, -7],
    ["append", 8, -100, [b"x"]],
    ["append", 8, 1 << 62, [b"x"]],
    ["put", 9, 0, [["k" * 100_000, b"x"]]],
    ["whole", 99, 1],
    ["cancel", 99],
    ["release", 99],
    ["resumed"],
    ["bye"],
]


def test_frames_of_every_wrong_shape_are_survived(hub: Hub, actor: Start, dealer: zmq.Socket[bytes]) -> None:
    writer, reader = actor("writer"), actor("reader")
    writer.ask("publish", initial={"a": "1"})
    pid = hub.pid
    hello(dealer)
    rng = random.Random(1)
    for _ in range(3):
        for frame in FRAMES:
            packed = msgpack.packb(frame) if frame != ["put", 1 << 70, 1, []] else b"\x94\xa3put\xcf" + b"\xff" * 20
            dealer.send(packed)
            dealer.send(packed[: rng.randrange(len(packed)) or 1])
            dealer.send_multipart([packed, packed])
        dealer.send(rng.randbytes(1000))
        dealer.send(b"\x91" * 5000)
        dealer.send(msgpack.packb(["hello", 1, "writer", f"c{rng.random()}"]))
    last = msgpack.packb(["subscribe", 77, "nobody/Nothing"])
    dealer.send(last)
    while msgpack.unpackb(dealer.recv()) != ["synchronized", 77]:
        pass  # by now the hub has read everything
    assert reader.ask("table", agent="writer") == {"a": "1"}
    assert hub.pid == pid
    assert hub.process is not None
    assert hub.process.poll() is None
    text = hub.log.read_text()
    assert "malformed" in text
    assert "Traceback" not in text, text


def raw(hub: Hub) -> socket.socket:
    """Connect without ZeroMQ."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(str(hub.run_dir / "bus" / "hub.sock"))
    return connection


def test_any_bytes_on_the_socket_are_survived(hub: Hub, actor: Start) -> None:
    reader = actor("reader")
    reader.ask("table", agent="nobody")
    rng = random.Random(2)
    for length in (0, 1, 10, 64, 65, 1000, 100_000):
        for prefix in (b"", SIGNATURE[:10], SIGNATURE):
            with raw(hub) as connection:
                try:
                    connection.sendall(prefix + rng.randbytes(length))
                except OSError:
                    continue
    assert hub.process is not None
    assert reader.ask("table", agent="nobody") == {}
    assert hub.process.poll() is None


def test_a_frame_over_the_limit_ends_its_connection_and_nothing_else(
    hub: Hub, actor: Start, dealer: zmq.Socket[bytes]
) -> None:
    reader = actor("reader")
    reader.ask("table", agent="nobody")
    before = hub.memory()
    hello(dealer)
    dealer.send(bytes(FRAME_LIMIT + 1))
    with raw(hub) as connection:
        ready = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
        connection.sendall(SIGNATURE + ready + b"\x02" + struct.pack(">Q", 1 << 62))
        while connection.recv(1000):
            pass
    assert reader.ask("table", agent="nobody") == {}
    assert hub.memory() - before < 16 * MIB


def test_a_client_that_asks_and_never_reads_is_dropped(hub: Hub, actor: Start, dealer: zmq.Socket[bytes]) -> None:
    hello(dealer)
    before = hub.memory()
    dealer.rcvhwm = 1
    ask = msgpack.packb(["subscribe", 1, "x" * 10_000])
    for _ in range(20_000):
        if not dealer.poll(500, zmq.POLLOUT):
            break  # the hub takes no more
        dealer.send(ask, zmq.NOBLOCK)
    assert actor("reader").ask("table", agent="nobody") == {}
    assert hub.memory() - before < 100 * MIB


def test_a_thousand_connections_do_not_end_the_hub(hub: Hub, actor: Start) -> None:
    reader = actor("reader")
    reader.ask("table", agent="nobody")
    opened = [raw(hub) for _ in range(800)]
    assert reader.ask("table", agent="nobody") == {}
    for connection in opened:
        connection.close()
    assert reader.ask("table", agent="nobody") == {}
    assert len(list(Path(f"/proc/{hub.pid}/fd").iterdir())) > 10
