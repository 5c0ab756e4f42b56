"""Reconcile the namespace that this is run in with a plan a line, print what was done as JSON: test_kernel_items."""

from __future__ import annotations

import asyncio
import json
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import msgspec

from nsmanager.item import Item
from nsmanager.items.bridge import Bridge
from nsmanager.items.link import Link
from nsmanager.items.port_vlans import PortVlans
from nsmanager.items.wireguard import Peer, Wireguard
from nsmanager.namespace import Namespace
from nsmanager.reconcile import reconcile

KINDS: tuple[type[Item], ...] = (Link, Wireguard, Bridge, PortVlans)


def plans(folder: Path, keys: list[bytes]) -> dict[str, tuple[Item, ...]]:
    """Return the plans by name; `folder` has the secrets, `keys` are the peers'."""
    ports = (Link("p1", master="br0"), Link("p2", master="br0"))
    bridge = Link("br0", kind="bridge")
    many = frozenset(IPv4Network((0x0A000000 + (number << 8), 24)) for number in range(1000))
    first = Peer("one", keys[0], IPv4Address("192.0.2.1"), 51820, frozenset({IPv4Network("198.51.100.0/24")}), 25)
    peers = (
        msgspec.structs.replace(first, secret=str(folder / "psk")),
        Peer("six", keys[1], IPv6Address("2001:db8::1"), 4433, many | {IPv6Network("2001:db8:5::/64")}, 10),
    )
    return {
        "nothing": (),
        "switch": (bridge, Bridge("br0"), *ports),
        "vlans": (
            bridge, Bridge("br0", vlan_filtering=True, default_pvid=0), *ports, PortVlans("p1", 20),
            PortVlans("p2", tagged=(20,)),
        ),
        "wireguard": (
            Link("wg0", kind="wireguard", mtu=1440),
            Wireguard("wg0", secret=str(folder / "key"), version="1", peers=peers),
        ),
    }  # fmt: skip


async def main(folder: Path, keys: list[bytes]) -> None:
    """Print a line for each that is read."""
    known = plans(folder, keys)
    async with Namespace() as ns:
        for line in sys.stdin:
            report = await reconcile(ns, known[line.strip()], KINDS)
            done = [str(change) for change in report.done]
            print(json.dumps([done, [text for _, text in report.errors + report.waiting]]), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), [bytes.fromhex(key) for key in sys.argv[2:]]))
