"""What passed an instance: its interfaces' and its rules' counters, told every few seconds when they changed."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from nsmanager.board import Board
from nsmanager.duty import while_wanted
from nsmanager.firewall.bridge import spoofed_counter
from nsmanager.firewall.entries import DEFAULT, SPOOFED, app_entries, counter_name
from nsmanager.marks import NFT_TABLE
from nsmanager.namespace import IFINFOMSG_SIZE, IFLA_IFNAME, RTM_GETLINK, Namespace
from nsmanager.netlink import attributes, string
from nsmanager.place import Place
from nsmanager.resources import Resources
from pubsub.topics import Action, InterfaceCounters, NamespaceConfig, NetworkInstanceMetrics, RuleCounters

INTERVAL = 5.0  # seconds between two looks
TRACKED = "net.netfilter.nf_conntrack_count"
IFLA_STATS64 = 23
# First fields of struct rtnl_link_stats64: packets, bytes, errors and dropped, each received and sent.
STATS = struct.Struct("=8Q")

Counted = Mapping[str, tuple[int, int]]  # packets and bytes by a counter's name


async def count(ns: Namespace, place: Place, board: Board) -> None:
    """Keep the board told of what was counted. Runs until cancelled."""
    resources = Resources(ns, place, board)

    async def run(config: NamespaceConfig) -> None:
        await board.reported.wait()
        while True:
            counted = ns.nft_counters(NFT_TABLE)
            found = metrics(ns, config, counted)
            used = resources.look(config, counted, found.connections, time.monotonic())
            board.count(msgspec.structs.replace(found, resources=used))
            await asyncio.sleep(INTERVAL)

    await while_wanted("counters", board, lambda config: config, run)


def metrics(ns: Namespace, config: NamespaceConfig, counted: Counted) -> NetworkInstanceMetrics:
    """Return what to tell, from our counters and what the kernel says besides. Raises OSError."""
    return NetworkInstanceMetrics(
        at=time.time(),
        interfaces=interfaces(ns),
        rules=tuple(rules(config, counted)),
        connections=int(ns.read_sysctl(TRACKED) or 0),
    )


def interfaces(ns: Namespace, only: Iterable[str] | None = None) -> tuple[InterfaceCounters, ...]:
    """Return the counters of the namespace's interfaces, or of some."""
    wanted = None if only is None else set(only)
    found = []
    for message in ns.rtnl.dump(RTM_GETLINK, bytes(IFINFOMSG_SIZE)):
        fields = attributes(message, IFINFOMSG_SIZE)
        ifname = string(fields[IFLA_IFNAME])
        if IFLA_STATS64 in fields and (wanted is None or ifname in wanted):
            rx_packets, tx_packets, rx_bytes, tx_bytes, _, _, rx_dropped, tx_dropped = STATS.unpack_from(
                fields[IFLA_STATS64]
            )
            found.append(
                InterfaceCounters(
                    ifname=ifname,
                    rx_bytes=rx_bytes,
                    tx_bytes=tx_bytes,
                    rx_packets=rx_packets,
                    tx_packets=tx_packets,
                    rx_dropped=rx_dropped,
                    tx_dropped=tx_dropped,
                )
            )
    return tuple(sorted(found, key=lambda one: one.ifname))


def rules(config: NamespaceConfig, counted: Counted) -> Iterator[RuleCounters]:
    """Yield what met each rule in force, in order; last what was spoofed, where anything was."""
    for one in app_entries(config):
        app = one.app.name
        for entry in one.entries:
            drops = entry.met if entry.rule.action is Action.DROP else entry.over
            yield _of(app, entry.rule.name, counted.get(entry.met, (0, 0)), counted.get(drops, (0, 0))[0])
        if one.ruled:
            found = counted.get(counter_name(app, DEFAULT), (0, 0))
            yield _of(app, DEFAULT, found, found[0])
        spoofed = counted.get(spoofed_counter(app), (0, 0))
        if spoofed[0]:
            yield _of(app, SPOOFED, spoofed, spoofed[0])


def _of(app: str, rule: str, met: tuple[int, int], drops: int) -> RuleCounters:
    return RuleCounters(app=app, rule=rule, packets=met[0], bytes=met[1], drops=drops)
