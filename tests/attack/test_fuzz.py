"""Hostile bytes on the hub's socket and on the control socket: no crash, no memory kept; others are served."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack  # type: ignore[import-untyped]  # ships no types
import pytest
import zmq
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pubsub.limits import MIB
from supervisor import control
from tests.attack import fuzz
from tests.attack.conftest import FUZZ, Tally
from tests.functional.pubsub.processes import Actor, Hub
from tests.hosts import DEADLINE, Daemon, Host, wait_until

EXAMPLES = 150  # of each kind; each is a list of messages
GROWTH = 24 * MIB  # bytes that a process may take for caches, and for what the fuzzer may rightly store
LAST = 7_777_777  # handle of what is asked last
PATIENT = settings(
    max_examples=EXAMPLES, database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    with contextlib.closing(Hub(folder)) as running:
        yield running


@pytest.fixture
def served(hub: Hub) -> Iterator[Callable[[], None]]:
    """Return a function that has one honest agent tell another something, by the very hub that there was."""
    with Actor(hub.run_dir, "honest") as writer, Actor(hub.run_dir, "reader") as reader:
        writer.ask("publish")
        pid, number = hub.pid, 0

        def serve() -> None:
            nonlocal number
            number += 1
            writer.ask("set", key="a", text=str(number))
            writer.ask("flush")
            assert reader.ask("table", agent="honest") == {"a": str(number)}
            assert hub.process
            assert hub.process.poll() is None
            assert hub.pid == pid

        serve()
        yield serve


def clean(log: str) -> bool:
    """Tell whether a log has no trace of a defect, and nothing that controls a terminal."""
    return "Traceback" not in log and "\x1b" not in log


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_frames_that_nobody_would_send(hub: Hub, served: Callable[[], None], tally: Tally) -> None:
    """As root, who may do everything: so everything is reached."""
    cases, context = 0, zmq.Context()
    before, open_before = hub.memory(), descriptors(hub.pid)

    @PATIENT
    @given(st.lists(fuzz.FRAMES, min_size=1, max_size=12))
    def throw(frames: list[bytes]) -> None:
        nonlocal cases
        dealer = context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.connect(f"ipc://{hub.run_dir}/bus/hub.sock")
        for frame in (b"\x94\xa5hello\x01\xa6writer\xa2c1", *frames):
            dealer.send(frame)
        dealer.send(b"\x94\xa5hello\x01\xa4last\xa2c2")
        dealer.send(msgpack.packb(["subscribe", LAST, "nobody/Nothing"]))
        while msgpack.unpackb(dealer.recv(), strict_map_key=False) != ["synchronized", LAST]:
            pass  # by then the hub has read everything
        dealer.close()
        cases += len(frames)

    throw()
    served()
    tally(cases, FUZZ)
    context.term()
    assert cases > EXAMPLES
    assert hub.memory() - before < GROWTH
    wait_until(lambda: descriptors(hub.pid) <= open_before, what="the fuzzer's connections are gone")
    assert clean(hub.log.read_text()), hub.log.read_text()[-3000:]


def test_bytes_that_are_no_zeromq(hub: Hub, served: Callable[[], None], tally: Tally) -> None:
    cases = 0
    before, open_before = hub.memory(), descriptors(hub.pid)

    @PATIENT
    @given(st.lists(fuzz.CONNECTIONS, min_size=1, max_size=4))
    def throw(connections: list[bytes]) -> None:
        nonlocal cases
        for data in connections:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as raw:
                raw.settimeout(DEADLINE)
                raw.connect(str(hub.run_dir / "bus" / "hub.sock"))
                raw.sendall(data)
            cases += 1

    throw()
    served()
    tally(cases, FUZZ)
    assert hub.memory() - before < GROWTH
    wait_until(lambda: descriptors(hub.pid) <= open_before, what="the fuzzer's connections are gone")
    assert clean(hub.log.read_text()), hub.log.read_text()[-3000:]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Host() as host, Daemon(host, {"instances": {"red": {"subnet": "10.1.0.0/24", "uplinks": []}}}) as made:
        made.wait_ready("red")
        yield made


def memory(pid: int) -> int:
    """Return the resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_requests_that_nobody_would_make(daemon: Daemon, tally: Tally) -> None:
    """By root, whom nothing is refused; each with descriptors, which mustn't be kept."""
    cases, pid = 0, daemon.pid
    path = str(daemon.host.path(daemon.run_dir / "control.sock"))
    control.request(Path(path).parent, {"do": "ping"})
    before, open_before = memory(pid), descriptors(pid)

    @PATIENT
    @given(fuzz.REQUESTS, fuzz.LENGTHS, st.sampled_from((0, 4, 4, 4, 12)))
    def throw(body: bytes, lie: int, fds: int) -> None:
        nonlocal cases
        with open("/dev/null") as null, socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE)
            client.connect(path)
            data = fuzz.request(body, lie)
            socket.send_fds(client, [data[: 4 if lie else 3]], [null.fileno()] * fds)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(data[4 if lie else 3 :])
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
        cases += 1

    throw()
    tally(cases, FUZZ)
    assert control.request(Path(path).parent, {"do": "ping"})["pid"] == pid
    assert daemon.process
    assert daemon.process.poll() is None
    assert memory(pid) - before < GROWTH
    wait_until(lambda: descriptors(pid) <= open_before, what="the fuzzer's descriptors are closed")
    daemon.wait_ready("red")
    log = daemon.log()
    assert clean(log), log[max(log.find("Traceback") - 300, 0) :][:6000]


def test_a_client_that_says_nothing_keeps_nobody_waiting(daemon: Daemon, tally: Tally) -> None:
    tally()
    path = str(daemon.host.path(daemon.run_dir / "control.sock"))
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            silent = stack.enter_context(socket.socket(socket.AF_UNIX))
            silent.connect(path)
        done: subprocess.CompletedProcess[str] = daemon.cli("version", check=True)
        assert str(daemon.pid) in done.stdout
