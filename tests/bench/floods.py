"""What a flood from one instance costs another: p99 of its round trips, of its new connections, and of the bus.

python -m tests.bench.floods [--apart | --prompt] [LOAD …]: without words all of LOADS. Four take turns in one run, on
a machine that is never as quiet as one would like: calm, calm once more, beside an app that only computes, and the
flood. What two calms differ by is noise; what a flood costs beyond computing is the network's; the rest is that
processors are shared. --apart: the instance that floods has one of its own, its app, manager and services: what is left
is what all share in the kernel. --prompt: who measures, and whom it asks outside, waits for none (SCHED_FIFO): what is
left is the way between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import psutil

import pubsub
from nsmanager.names import bridge_mac
from pubsub.topics import NetworkMetrics
from tests.bench.figures import percentile
from tests.functional.floods.rig import FLOOD
from tests.hosts import Daemon, Topology
from tests.hosts.host import ROOT, TRAFFIC
from tests.hosts.topology import NAME, OUTSIDE

SECONDS = 5.0  # of each turn
TURNS = 8  # of each
ECHO_PORT, WEB_PORT = 9007, 80
RESOLVER = "10.1.0.1"  # the victim's own
PULSE = Path(__file__).with_name("pulse.py")
SPAM = Path(__file__).with_name("spam.py")
FLOODER, NOWHERE, ENDLESS = "10.1.0.7", "198.51.100.77", 1 << 40
BUS_PAUSE = 0.005  # seconds between two changes of a table
APPS = {"victim": "blue", "flooder": "red"}  # and whose they are
APART, PROMPT = "--apart", "--prompt"
FLOODED, ELSE = 0, 1  # processors with --apart: of red and its app, and of all others
CONFIG = """
instances:
  red: {subnet: 10.1.0.0/24, apps: {flooder: {address: 10.1.0.7}}, dns: {servers: [198.51.100.77]}}
  blue: {subnet: 10.1.0.0/24, apps: {victim: {}}}
"""


class Rig:
    """Two instances, an app in each, a server outside. A context manager."""

    def __init__(self, *, apart: bool, prompt: bool) -> None:
        self._apart, self._prompt = apart, prompt
        if apart:
            os.sched_setaffinity(0, {ELSE})  # and whom we start
        self._stack = contextlib.ExitStack()
        self.topology = self._stack.enter_context(Topology())
        self.host = self.topology.host
        self.daemon = self._stack.enter_context(Daemon(self.host, CONFIG))

    def __enter__(self) -> Self:
        try:
            self.daemon.wait_ready("red", "blue")
            self.host.sh("ip addr add 172.16.0.1/12 dev eth0")
            self.topology.outside.start([sys.executable, "-SE", TRAFFIC, "echo", ECHO_PORT])
            if self._apart:
                manager = psutil.Process(self.daemon.instance("red")["pid"])
                for process in (manager, *manager.children(recursive=True)):
                    for thread in process.threads():
                        os.sched_setaffinity(thread.id, {FLOODED})
            if self._prompt:
                for pid in (*self.topology.outside.pids(), *self.topology.gateway.pids()):
                    os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
                os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, app: str, *argv: object) -> subprocess.Popen[str]:
        """Start a command as an app; what it prints can be read."""
        when = ["chrt", "--fifo", "1"] if self._prompt and app == "victim" else []
        command = [*when, self.daemon.command, "run", APPS[app], "--name", app, "--", *self.place(app), *argv]
        return self.host.popen(command, env=self.daemon.environment, stdout=subprocess.PIPE)

    def place(self, app: str) -> tuple[object, ...]:
        """Return the words before a command that have it run where the app may."""
        return ("taskset", "-c", FLOODED) if self._apart and app == "flooder" else ()

    @property
    def run_dir(self) -> Path:
        """The daemon's, as seen from here."""
        return self.host.path(self.daemon.run_dir)


Load = Callable[[Rig], contextlib.AbstractContextManager[object]]


@contextlib.contextmanager
def bus_flood(rig: Rig) -> Iterator[None]:
    """The manager of red was taken over: a process of its uid sends as fast as the hub takes it, and comes back."""
    uid = rig.daemon.instance("red")["uid_base"]
    become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    flooder = rig.host.popen(
        [*rig.place("flooder"), *become, sys.executable, "-SE", SPAM, rig.daemon.run_dir / "bus/hub.sock"]
    )
    try:
        yield
    finally:
        flooder.kill()
        flooder.wait()


@contextlib.contextmanager
def app_flood(rig: Rig, *words: object) -> Iterator[None]:
    """The app of red floods, by flood.py of the tests."""
    flooder = rig.run("flooder", sys.executable, "-SE", FLOOD, *words)
    try:
        assert flooder.stdout is not None
        assert flooder.stdout.readline() == "ready\n"
        yield
    finally:
        flooder.terminate()
        flooder.communicate()


LOADS: dict[str, Load] = {
    "bus": bus_flood,
    "syn": lambda rig: app_flood(rig, "connections", bridge_mac("red"), FLOODER, NOWHERE, "tcp", ENDLESS),
    "udp": lambda rig: app_flood(rig, "connections", bridge_mac("red"), FLOODER, NOWHERE, "udp", ENDLESS),
    "neighbours": lambda rig: app_flood(rig, "hosts", bridge_mac("red"), FLOODER, "172.16.0.0/12", 1 << 20),
    "dhcp": lambda rig: app_flood(rig, "leases", "10.1.0.0/24", "client", ENDLESS),
    "dns": lambda rig: app_flood(rig, "queries", "10.1.0.1", "storm.test", ENDLESS),
}


async def change_a_table(run_dir: Path, begin: Callable[[], None], seconds: float) -> list[float]:
    """Return how long changes of a table took from a writer to a reader, in milliseconds.

    `begin` is called when both are connected, and waited for.
    """
    found: list[float] = []
    async with pubsub.connect(run_dir, agent="writer") as writer, pubsub.connect(run_dir, agent="reader") as reader:
        table = await writer.publish(NetworkMetrics)
        changes = aiter(reader.subscribe(NetworkMetrics, agent="writer"))
        while not isinstance(await anext(changes), pubsub.Synchronized):
            pass
        begin()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            table["one"] = NetworkMetrics(at=began)
            while not isinstance(await anext(changes), pubsub.Created | pubsub.Modified):
                pass
            found.append((time.monotonic() - began) * 1000)
            await asyncio.sleep(BUS_PAUSE)
    return found


def measure(rig: Rig) -> tuple[dict[str, list[float]], int]:
    """Feel the victim's pulse, and the bus's; return milliseconds by what, and how many tries failed."""
    pulse = rig.run("victim", sys.executable, "-SE", PULSE, OUTSIDE, ECHO_PORT, WEB_PORT, RESOLVER, NAME, SECONDS)

    def begin() -> None:
        assert pulse.stdout is not None
        assert pulse.stdout.readline() == "ready\n"

    changes = asyncio.run(change_a_table(rig.run_dir, begin, SECONDS))
    output, _ = pulse.communicate(timeout=10 * SECONDS)
    told = json.loads(output)
    return {**told["milliseconds"], "table change": changes}, sum(told["failed"].values())


def calm(_: Rig) -> contextlib.AbstractContextManager[object]:
    """Nobody else does anything."""
    return contextlib.nullcontext()


def typical(turns: list[list[float]], percent: float) -> float:
    """Return the median of the turns' percentiles: where this machine stood still in one of them, that is none's."""
    return statistics.median(percentile(turn, percent) for turn in turns)


def compare(rig: Rig, name: str) -> None:
    """Measure calm, calm, beside an app that computes, and under a load, in turns; print what each costs."""
    loads: tuple[Load, ...] = (calm, calm, lambda rig: app_flood(rig, "compute"), LOADS[name])
    found: tuple[dict[str, list[list[float]]], ...] = tuple({} for _ in loads)
    failures = [0] * len(loads)
    for _ in range(TURNS):
        for which, load in enumerate(loads):
            with load(rig):
                values, failed = measure(rig)
            failures[which] += failed
            for what, milliseconds in values.items():
                found[which].setdefault(what, []).append(milliseconds)
    for what in found[0]:
        turns = [each[what] for each in found]
        figures = (
            f"p{percent} " + " ".join(f"{typical(each, percent):6.2f}" for each in turns) for percent in (50, 99)
        )
        calm_again, computing, flooded = (typical(each, 99) for each in turns[1:])
        both = typical([*turns[0], *turns[1]], 99)
        ratios = f"({calm_again / both:4.2f}x, {flooded / both:4.2f}x, {flooded / computing:4.2f}x)"
        print(f"{name:12} {what:15} {' ms   '.join(figures)} ms   {ratios}")
    tries = sum(len(turn) for turns in found[-1].values() for turn in turns)
    print(f"{name:12} failed tries    {' '.join(map(str, failures))} of {tries} each", flush=True)


def main() -> None:
    """Compare the loads that are asked for."""
    names = [word for word in sys.argv[1:] if word not in (APART, PROMPT)]
    print("the median turn's: calm, calm again, beside an app that computes, flooded")
    print("(second calm : both calms, flooded : both calms, flooded : computing)")
    with Rig(apart=APART in sys.argv, prompt=PROMPT in sys.argv) as rig:
        for name in names or LOADS:
            compare(rig, name)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
