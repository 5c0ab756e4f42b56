"""Whenever nsvisord is killed while it lends a link or gives it back, the link is on the host in the end, as it was.

strace kills it at one of its system calls, really: the calls of one undisturbed run are counted first.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.functional.attach.lender import MAKE, Lender
from tests.hosts import Host, connect, wait_until

pytestmark = pytest.mark.timeout(600)  # seconds; some twenty starts of nsvisord
CALLS = "sendto,rename"  # by which it changes the kernel and its record
POINTS = 9  # at which it is killed, spread over the calls of one step


@pytest.fixture(scope="module")
def lender() -> Iterator[Lender]:
    with Host() as host, Host("device") as device:
        connect(host, "eth5", device, "eth0")
        host.sh(MAKE)
        found = Lender(host, device)
        with found.daemon:
            yield found


def trace(lender: Lender, *options: str) -> subprocess.Popen[str]:
    """Trace nsvisord's calls to a file; return when strace has hold of it."""
    output = lender.host.path("/run/strace.said").open("w")
    argv = ["strace", "-p", lender.daemon.pid, "-o", "/run/trace", "-e", f"trace={CALLS}", *options]
    with output:
        process = lender.host.popen(argv, stderr=output)
    wait_until(lambda: "attached" in lender.host.read_file("/run/strace.said"), what="strace has hold of nsvisord")
    return process


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(60)


def count(lender: Lender) -> int:
    calls = lender.host.read_file("/run/trace").splitlines()
    return sum(line.startswith(("sendto(", "rename(")) for line in calls)


def points(calls: int) -> list[int]:
    """Return at which calls to kill: the first, the last, and some between."""
    return sorted({1 + (calls - 1) * step // (POINTS - 1) for step in range(POINTS)})


def lend(lender: Lender) -> None:
    lender.configure({"plc": {"attach": {"link": "eth5"}}})


def take_back(lender: Lender) -> None:
    lender.configure()


def test_killed_while_it_lends(lender: Lender) -> None:
    before = lender.seen()
    take_back(lender)
    lender.daemon.wait_ready("red")
    tracer = trace(lender)
    lend(lender)
    wait_until(lambda: lender.app().get("attached"), what="eth5 is lent")
    stop(tracer)
    calls = count(lender)
    assert calls > POINTS
    inside = 0
    for call in points(calls):
        take_back(lender)
        lender.wait_back(before)
        lender.daemon.wait_ready("red")
        die_at(lender, call, lend, lambda: bool(lender.app().get("attached")))
        inside += not lender.is_here()
        lender.daemon.configure({"instances": {}})
        lender.daemon.start()
        lender.wait_back(before)
    assert inside, "it was never killed when the link was inside"


def test_killed_while_it_gives_back(lender: Lender) -> None:
    before = lender.seen()
    lender.lend()
    tracer = trace(lender)
    take_back(lender)
    lender.wait_back(before)
    stop(tracer)
    calls = count(lender)
    assert calls > POINTS
    here = 0
    for call in points(calls):
        lender.lend()
        die_at(lender, call, take_back, lambda: lender.seen() == before)
        here += lender.is_here() and lender.seen() != before
        lender.daemon.start()
        lender.wait_back(before)
    assert here, "it was never killed when the link was back but not as before"


def die_at(lender: Lender, call: int, step: Callable[[Lender], None], done: Callable[[], bool]) -> None:
    """Take a step, and have nsvisord killed at one of its calls, or after the step where it makes fewer this time."""
    assert lender.daemon.process
    tracer = trace(lender, "-e", f"inject={CALLS}:signal=SIGKILL:when={call}")
    step(lender)
    process = lender.daemon.process
    wait_until(lambda: process.poll() is not None or done(), what=f"killed at call {call}, or done")
    lender.daemon.kill()
    tracer.wait(60)
