"""Measures what rules cost: loading a thousand of them, and packets of an app that has none, ten or a thousand.

One instance in a throwaway host, with two apps; all that is compared is measured in turns, in the same minute.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.table import Table

from nsmanager.firewall import tables
from nsmanager.items.nftables import NftTable
from nsmanager.namespace import Namespace
from nsmanager.place import Place
from nsmanager.reconcile import reconcile
from pubsub.topics import Direction, Rule
from pubsub.values import Network, PortRange
from tests.functional.rules.rig import BASE, DB, OUTSIDE, RulesRig
from tests.hosts import Host
from tests.hosts.host import ROOT

ROUNDS = 7  # of each measurement; the least disturbed of them counts
SECONDS = 0.5  # of packets in each round
ECHOES = 4000  # round trips in each round
LOADS = 5  # of the tables
SINK_PORT = 9  # discard
LOAD = (sys.executable, "-SE", ROOT / "tests/bench/load.py")
PLACE = Place("red", ROOT, ROOT)
COUNTS = (None, 10, 1000)  # of rules; None: no rules at all, everything is allowed


def many(count: int | None) -> tuple[Rule, ...] | None:
    """Return rules of which the last lets everything pass; those before match other networks, names' ports and all."""
    if count is None:
        return None
    before = (
        Rule(
            name=f"net-{number}",
            direction=Direction.BOTH if number % 2 else Direction.OUT,
            remote=(Network.parse(f"10.{200 + number // 250}.{number % 250}.0/24"),),
            protocol="tcp",
            ports=(PortRange(1000 + number, 1000 + number), PortRange(80, 90)),
        )
        for number in range(count - 1)
    )
    return (*before, Rule(name="all", direction=Direction.BOTH))


def packets(rig: RulesRig, target: str, counter: Host, path: str) -> float:
    """Return the packets a second that an app gets through."""
    before = int(counter.read_file(path))
    rig.web.run([*LOAD, "flood", target, SINK_PORT, SECONDS])
    return (int(counter.read_file(path)) - before) / SECONDS


def round_trip(rig: RulesRig, target: str) -> float:
    """Return half of the echoes' time, in microseconds."""
    return float(json.loads(rig.web.run([*LOAD, "rtt", target, ECHOES]).stdout)[0])


def measure(rig: RulesRig) -> dict[tuple[str, int | None], tuple[list[float], list[float]]]:
    """Return packets a second and round trips of each round, by way and number of rules."""
    found: dict[tuple[str, int | None], tuple[list[float], list[float]]] = {}
    ways = (
        ("outside", OUTSIDE, rig.host, "/sys/class/net/v-red/statistics/rx_packets"),
        ("another app", DB, rig.db, "/sys/class/net/eth0/statistics/rx_packets"),
    )
    for _ in range(ROUNDS):
        for count in COUNTS:
            rig.change(many(count), many(count))
            for way, target, counter, path in ways:
                pps, rtt = found.setdefault((way, count), ([], []))
                pps.append(packets(rig, target, counter, path))
                rtt.append(round_trip(rig, target))
    return found


async def load() -> list[float]:
    """Return how long the tables took to load in one transaction, in seconds, listing and comparison with it."""
    times, config = [], msgspec.structs.replace(BASE, apps=RulesRig().apps(None, None))
    for turn in range(LOADS):
        app = msgspec.structs.replace(config.apps[0], rules=many(1000 + turn))
        config = msgspec.structs.replace(config, apps=(app, *config.apps[1:]))
        planned = [table for table in tables(config, PLACE) if table.family == "inet"]
        async with Namespace() as ns:
            began = time.perf_counter()
            report = await reconcile(ns, planned, (NftTable,))
            times.append(time.perf_counter() - began)
            assert report.done
            assert not report.errors, report.errors
    return times


def rows(found: dict[tuple[str, int | None], tuple[list[float], list[float]]]) -> Iterable[tuple[str, ...]]:
    """Yield the rows of the table, ratios to no rules."""
    for (way, count), (pps, rtt) in found.items():
        best, least = max(pps), min(rtt)
        none_pps, none_rtt = found[way, None]
        yield (
            way,
            "none" if count is None else f"{count:,}",
            f"{best:,.0f}",
            f"{best / max(none_pps):.2f}",
            f"{least:.1f}",
            f"{least / min(none_rtt):.2f}",
        )


def main() -> None:
    """Print what was measured; run as root."""
    if sys.argv[1:] == ["load"]:
        print(json.dumps(asyncio.run(load())))
        return
    with RulesRig() as rig:
        rig.begin(None)
        rig.web.sh("sysctl -qw net.ipv4.ping_group_range='0 2147483647'")
        found = measure(rig)
        table = Table("to", "rules", "packets/s", "ratio", "round trip, µs", "ratio")
        for row in rows(found):
            table.add_row(*row)
        Console().print(table)
        seconds = loading(rig)
    print(f"1,000 rules in one transaction, with the look before and after: {statistics.median(seconds) * 1000:.0f} ms")


def loading(rig: RulesRig) -> list[float]:
    """Load the tables in a namespace of their own."""
    done = rig.host.run(["unshare", "--net", sys.executable, "-m", "tests.bench.rules", "load"])
    return [float(one) for one in json.loads(done.stdout)]


if __name__ == "__main__":
    main()
