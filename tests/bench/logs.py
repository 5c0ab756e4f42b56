"""Measures what the logs of an instance cost: connections, packets and DNS queries a second, with and without them.

One instance behind one NAT in a throwaway host, its manager and hub real. Each is measured with its log off and on in
turns, in the same minutes; a ratio is that of the medians.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from pubsub.topics import IPFlow, LogConfig
from tests.functional.observe.rig import HOST, PYTHON, ROUTER, Rig, Told
from tests.hosts import wait_until

ROUNDS = 5  # of each measurement with each setting
CONNECTIONS = 3000  # of TCP, one after the other, in each round: opened, a byte each way, closed
PACKET_SECONDS = 1.0  # of datagrams of 18 bytes in each round, of one flow
QUERIES = 5000  # for a name that dnsmasq knows, one after the other, in each round
PORT, SINK, RULED_PORT = 9000, 9, 81
TALK = Path(__file__).parents[1] / "functional/observe/talk.py"
LOAD = Path(__file__).with_name("load.py")
TICKS = os.sysconf("SC_CLK_TCK")  # a second, of the times in /proc/PID/stat
EXPLANATION = f"""\
connections: {CONNECTIONS} of TCP from an app to the host, one after the other; packets: datagrams of one flow through
  the instance; dropped packets: the same against an app's rule; queries: of a name that dnsmasq knows, one after
  the other
manager: its CPU time for each of them, until the records are told; of a flood of drops it reads what it can and counts
  the rest; ratios are of medians of {ROUNDS} rounds in turns"""


@dataclasses.dataclass
class Load:
    """One kind of work, and which log is about it."""

    name: str
    log: str  # field of LogConfig
    rates: dict[bool, list[float]] = dataclasses.field(default_factory=lambda: {False: [], True: []})  # a second
    busy: dict[bool, list[float]] = dataclasses.field(default_factory=lambda: {False: [], True: []})  # µs of CPU each


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def connections(rig: Rig) -> float:
    """Return the connections a second."""
    began = time.monotonic()
    rig.free.run([*PYTHON, TALK, "connections", HOST, PORT, CONNECTIONS, "any"])
    return CONNECTIONS / (time.monotonic() - began)


def packets(rig: Rig, app: str = "free", port: int = SINK) -> float:
    """Return the packets a second that leave the app and are taken off its link."""
    host = getattr(rig, app)
    counter = "/sys/class/net/eth0/statistics/tx_packets"
    before = int(host.run(["cat", counter]).stdout)
    host.run([*PYTHON, LOAD, "flood", HOST, port, PACKET_SECONDS])
    return (int(host.run(["cat", counter]).stdout) - before) / PACKET_SECONDS


def dropped(rig: Rig) -> float:
    return packets(rig, "guarded", RULED_PORT)


def queries(rig: Rig) -> float:
    """Return the queries a second."""
    done = rig.free.run([*PYTHON, TALK, "ask", ROUTER, "free.red.internal", QUERIES])
    return float(json.loads(done.stdout))


LOADS = {
    "connections/s": ("flows", connections),
    "packets/s": ("flows", packets),
    "dropped packets/s": ("flows", dropped),
    "queries/s": ("dns", queries),
}


COUNTS = {"connections/s": CONNECTIONS, "queries/s": QUERIES}  # of others as many as there were


def measure(rig: Rig) -> list[Load]:
    """Measure all in turns."""
    loads = [Load(name, log) for name, (log, _) in LOADS.items()]
    unlimited = msgspec.structs.replace(rig.config.limits, queries=QUERIES * 100)  # as many as there can be
    for number in range(2 * ROUNDS):
        on = bool(number % 2)
        rig.publish(log=LogConfig(flows=on, dns=on), limits=unlimited)
        rig.wait_ready()
        for load in loads:
            before = cpu(rig.pid)
            load.rates[on].append(LOADS[load.name][1](rig))
            settled = cpu(rig.pid)
            while True:  # what is told a moment later belongs to it
                time.sleep(1.0)
                now = cpu(rig.pid)
                if now - settled < 0.02:
                    break
                settled = now
            load.busy[on].append(1e6 * (settled - before) / COUNTS.get(load.name, load.rates[on][-1] * PACKET_SECONDS))
    return loads


def main() -> int:
    """Measure and print."""
    with Rig() as rig:
        config = rig.config
        assert config is not None
        rig.host.start([*PYTHON, TALK, "answer", HOST, PORT])
        known = Told(rig.run_dir, IPFlow)
        try:
            rig.free.run([*PYTHON, TALK, "connections", HOST, PORT, 10])
            wait_until(lambda: len(known.find(destination_port=PORT)) == 10, what="the log is on")
            loads = measure(rig)
            lost = known.lost
        finally:
            known.close()
        rig.publish(log=msgspec.structs.replace(config.log))
    table = Table("load", "log off", "log on", "ratio", "manager's CPU off", "on")
    for load in loads:
        off, on = (statistics.median(load.rates[which]) for which in (False, True))
        busy = [f"{statistics.median(load.busy[which]):.1f} µs" for which in (False, True)]
        table.add_row(load.name, f"{off:,.0f}", f"{on:,.0f}", f"{on / off:.3f}", *busy)
    console = Console(width=120)
    console.print(table)
    print(f"records lost between manager and reader: {lost}\n{EXPLANATION}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
