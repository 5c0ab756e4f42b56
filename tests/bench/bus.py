"""The bus beside a plain ZeroMQ XPUB/XSUB proxy: one writer, one broker, one reader, each a process of its own.

    python -m tests.bench.bus [--messages N] [--size BYTES]

What the two do is not the same: the proxy forwards bytes and forgets them (and drops at its high-water mark, told to
nobody); the bus keeps the last value of every key in memory and in a file, knows who writes, and merges per key.
So a "message" of the bus is a key with a new value. With one key for all of them it may skip those in between.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import zmq
from rich.console import Console
from rich.table import Table as Printed

import pubsub
from pubsub import codec
from pubsub.topics import Message
from tests.functional.pubsub.processes import Hub

WIDTH = 100  # columns of the table
PINGS = 2000  # round trips of a latency run
HWM = 1_000_000  # so that the proxy loses nothing
END_OF_RUN = 60.0  # seconds for the slowest part
MOST_KEYS = 50_000  # a table takes twice as many
END = 10.0  # seconds for a process to end
SPAWN = multiprocessing.get_context("spawn")


class Sample(Message, frozen=True):
    """What is sent: the time and ballast."""

    sent: float = 0.0  # of the monotonic clock, which all processes share
    text: str = ""


class Figures(msgspec.Struct):
    """One row of the result."""

    rate: float  # values written a second, until the last one is with the reader
    received: int
    p50: float  # microseconds from writer to reader, one at a time
    p99: float
    memory: int  # resident bytes of the broker at the end


# --- the bus -------------------------------------------------------------------------------------------------------


async def _bus_writer(run_dir: Path, control: Connection, messages: int, keys: int, size: int) -> None:
    async with pubsub.connect(run_dir, "writer") as bus:
        table = await bus.publish(Sample)
        await asyncio.to_thread(control.recv)
        text = "x" * size
        for number in range(messages):
            table[str(number % keys)] = Sample(sent=time.monotonic(), text=text)
            if number % 100 == 99:
                await asyncio.sleep(0)
        table["end"] = Sample()
        await table.flush()
        await asyncio.to_thread(control.recv)
        async for change in bus.subscribe(Sample, agent="reader"):  # each answer asks for the next one
            if isinstance(change, pubsub.Created | pubsub.Modified):
                table["ping"] = Sample(sent=time.monotonic())
        return


async def _bus_reader(run_dir: Path, control: Connection) -> None:
    async with pubsub.connect(run_dir, "reader") as bus:
        answers = await bus.publish(Sample)
        reader = bus.subscribe(Sample, agent="writer")
        first, count = 0.0, 0
        control.send("ready")
        async for change in reader:
            if isinstance(change, pubsub.Created | pubsub.Modified):
                if change.key == "end":
                    break
                first, count = first or change.value.sent, count + 1
        control.send((count, time.monotonic() - first))
        await asyncio.to_thread(control.recv)
        delays: list[float] = []
        answers["pong"] = Sample(sent=time.monotonic())
        async for change in reader:
            if isinstance(change, pubsub.Created | pubsub.Modified) and change.key == "ping":
                delays.append(time.monotonic() - change.value.sent)
                if len(delays) == PINGS:
                    break
                answers["pong"] = Sample(sent=time.monotonic())
        control.send(delays)


def bus_writer(run_dir: Path, control: Connection, messages: int, keys: int, size: int) -> None:
    """Process: write."""
    asyncio.run(_bus_writer(run_dir, control, messages, keys, size))


def bus_reader(run_dir: Path, control: Connection) -> None:
    """Process: read."""
    asyncio.run(_bus_reader(run_dir, control))


def measure_bus(messages: int, keys: int, size: int) -> Figures:
    """Measure the hub."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Hub(Path(folder))) as hub:
        ends = [(hub.run_dir,), (hub.run_dir, messages, keys, size)]
        return _measure(messages, bus_reader, ends[0], bus_writer, ends[1], memory=hub.memory)


# --- the proxy -----------------------------------------------------------------------------------------------------


def proxy(folder: Path) -> None:
    """Process: forward."""
    context = zmq.Context()
    front, back = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
    for end, name in ((front, "in"), (back, "out")):
        end.rcvhwm = end.sndhwm = HWM
        end.bind(f"ipc://{folder}/{name}")
    zmq.proxy(front, back)


def _zmq_ends(folder: Path, topic: bytes) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """Make a socket to publish with, and one that is subscribed for sure."""
    context = zmq.Context()
    out, into = context.socket(zmq.PUB), context.socket(zmq.SUB)
    out.sndhwm = into.rcvhwm = HWM
    out.connect(f"ipc://{folder}/in")
    into.connect(f"ipc://{folder}/out")
    into.subscribe(topic)
    into.subscribe(b"probe" + topic)
    while not into.poll(10):
        out.send(b"probe" + topic)
    while into.poll(100):
        into.recv()
    return out, into


def zmq_writer(folder: Path, control: Connection, messages: int, size: int) -> None:
    """Process: write."""
    out, into = _zmq_ends(folder, b"pong")
    control.recv()
    text = "x" * size
    for _ in range(messages):
        out.send(b"ping" + codec.encode(Sample(sent=time.monotonic(), text=text)))
    out.send(b"pingend")
    control.recv()
    while True:
        into.recv()
        out.send(b"ping" + codec.encode(Sample(sent=time.monotonic())))


def zmq_reader(folder: Path, control: Connection) -> None:
    """Process: read."""
    out, into = _zmq_ends(folder, b"ping")
    first, count = 0.0, 0
    control.send("ready")
    while (message := into.recv()) != b"pingend":
        sample = codec.decode(Sample, message[4:])
        first, count = first or sample.sent, count + 1
    control.send((count, time.monotonic() - first))
    control.recv()
    delays: list[float] = []
    for _ in range(PINGS):
        out.send(b"pong")
        delays.append(-codec.decode(Sample, into.recv()[4:]).sent + time.monotonic())
    control.send(delays)


def measure_proxy(messages: int, size: int) -> Figures:
    """Measure libzmq's own proxy."""
    with tempfile.TemporaryDirectory() as name, _process(proxy, Path(name)) as forwarder:
        folder = Path(name)
        statm = Path(f"/proc/{forwarder.pid}/statm")
        return _measure(
            messages,
            zmq_reader,
            (folder,),
            zmq_writer,
            (folder, messages, size),
            memory=lambda: int(statm.read_text().split()[1]) << 12,
        )


# --- both ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _process(target: Callable[..., None], *arguments: object) -> Iterator[multiprocessing.process.BaseProcess]:
    running = SPAWN.Process(target=target, args=arguments, daemon=True)
    running.start()
    try:
        yield running
    finally:
        running.kill()
        running.join(END)


def _measure(
    messages: int,
    reader: Callable[..., None],
    reader_arguments: tuple[object, ...],
    writer: Callable[..., None],
    writer_arguments: tuple[object, ...],
    *,
    memory: Callable[[], int],
) -> Figures:
    """Run a writer and a reader: first as fast as they can, then one message at a time."""
    (read, read_end), (write, write_end) = SPAWN.Pipe(), SPAWN.Pipe()
    folder, *rest = writer_arguments
    with _process(reader, *reader_arguments, read_end), _process(writer, folder, write_end, *rest):
        _receive(read)
        write.send("go")
        count, seconds = _receive(read)
        used = memory()
        write.send("go")
        read.send("go")
        micros = sorted(1e6 * delay for delay in _receive(read))
        cuts = statistics.quantiles(micros, n=100)
        return Figures(rate=messages / seconds, received=count, p50=cuts[49], p99=cuts[98], memory=used)


def _receive(connection: Connection) -> Any:
    """Take what the reader says. Raises TimeoutError."""
    if not connection.poll(END_OF_RUN):
        raise TimeoutError("the reader got no end; did the writer fail?")
    return connection.recv()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the bus beside a plain ZeroMQ proxy.")
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=1000, help="bytes of a value")
    options = parser.parse_args()
    messages, size = options.messages, options.size
    table = Printed(title=f"{messages} values of {size} bytes, one writer, one broker, one reader")
    for column in ("way", "written/s", "received", "p50 µs", "p99 µs", "broker MiB"):
        table.add_column(column, justify="left" if column == "way" else "right", no_wrap=True)
    rows: list[tuple[str, Callable[[], Figures]]] = [
        ("XPUB/XSUB proxy", lambda: measure_proxy(messages, size)),
        ("bus, each value its own key", lambda: measure_bus(messages, min(messages, MOST_KEYS), size)),
        ("bus, 1,000 keys in turn", lambda: measure_bus(messages, 1000, size)),
        ("XPUB/XSUB proxy again", lambda: measure_proxy(messages, size)),
    ]
    for name, measure in rows:
        found = measure()
        table.add_row(
            name,
            f"{found.rate:,.0f}",
            f"{found.received:,}",
            f"{found.p50:.0f}",
            f"{found.p99:.0f}",
            f"{found.memory / (1 << 20):.0f}",
        )
    Console(width=WIDTH).print(table)


if __name__ == "__main__":
    main()
