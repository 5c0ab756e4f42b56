"""Reconcile the namespace that this is run in with a plan of both families, and print what was done; see test_items."""

from __future__ import annotations

import asyncio
import sys
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from nsmanager.item import Item
from nsmanager.items.address import Address
from nsmanager.items.link import Link
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.route import Route
from nsmanager.items.rule import Rule
from nsmanager.namespace import Namespace
from nsmanager.reconcile import reconcile

KINDS: tuple[type[Item], ...] = (Link, Address, Route, Rule, Neighbour)
TABLE = 196002
LAST_METRIC = 4278198272
ANYWHERE, ANYWHERE6 = IPv4Network("0.0.0.0/0"), IPv6Network("::/0")
GATEWAY, GATEWAY6 = IPv4Address("192.0.2.2"), IPv6Address("2001:db8::2")
MAC = "02:00:00:00:00:02"
PLAN: tuple[Item, ...] = (
    Link("br0", kind="bridge"),
    Address("br0", IPv4Interface("192.0.2.1/24")),
    Address("br0", IPv6Interface("2001:db8::1/64")),
    Address("br0", IPv6Interface("fe80::1/64")),
    Neighbour("br0", GATEWAY, MAC),
    Neighbour("br0", GATEWAY6, MAC),
    Route(ANYWHERE, via=GATEWAY, dev="br0"),
    Route(ANYWHERE6, via=GATEWAY6, dev="br0"),
    Route(ANYWHERE, TABLE, "unreachable", metric=LAST_METRIC),
    Route(ANYWHERE6, TABLE, "unreachable", metric=LAST_METRIC),
    Route(ANYWHERE6, TABLE, via=GATEWAY6, dev="br0", src=IPv6Address("2001:db8::1"), metric=5),
    Route(IPv6Network("2001:db8::1/128"), TABLE, "local", dev="br0"),
    Route(IPv6Network("2001:db8:1::/64"), TABLE, dev="br0"),
    Rule(1, "goto", target=100, iif="lo", mark=0, mask=0xFFFF),
    Rule(1, "goto", target=100, iif="lo", mark=0, mask=0xFFFF, family=6),
    Rule(2, "unreachable", src=IPv6Network("2001:db8:2::/64"), mark=0, mask=0xFFFF, family=6),
    Rule(3, table=255, dst=IPv6Network("2001:db8:2::/64"), family=6),
    Rule(10, table=TABLE, mark=0x102, mask=0xFFFF),
    Rule(10, table=TABLE, mark=0x102, mask=0xFFFF, family=6),
    Rule(100, table=255),
    Rule(100, table=255, family=6),
)


async def main(plan: tuple[Item, ...]) -> None:
    """Print each change, and what went wrong."""
    async with Namespace() as ns:
        report = await reconcile(ns, plan, KINDS)
        for line in (*report.done, *(text for _, text in report.errors + report.waiting)):
            print(line)


if __name__ == "__main__":
    asyncio.run(main(PLAN if sys.argv[1:] == ["all"] else ()))
