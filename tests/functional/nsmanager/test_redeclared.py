"""A set of another type takes the old one's place, as after an upgrade, and what is kept lives on."""

from __future__ import annotations

import sys

from tests.hosts import Host
from tests.hosts.host import ROOT

CHANGE = """
import asyncio
from nsmanager.items.nftables import NftTable
from nsmanager.namespace import Namespace
from nsmanager.reconcile import adjust

KEPT = ("set kept { type ipv4_addr; flags timeout; timeout 60s; }",)
BEFORE, AFTER = (
    NftTable("inet", "nsvisor", f"\\tset s {{ {declared}; }}\\n\\tchain c {{ {rule}; }}\\n", (("s", (element,)),), KEPT)
    for declared, rule, element in (
        ("type ipv4_addr", "ip saddr @s accept", "192.0.2.1"),
        ("type inet_service", "tcp dport @s accept", "80"),
    )
)

async def main() -> None:
    async with Namespace() as ns:
        await adjust(ns, (BEFORE,), (NftTable,))
        await ns.nft_change("add element inet nsvisor kept { 192.0.2.9 }")
        await adjust(ns, (AFTER,), (NftTable,))
        print(await ns.nft("list table inet nsvisor"))

asyncio.run(main())
"""


def test_what_is_kept_lives_on() -> None:
    with Host("red") as host:
        listed = host.run([sys.executable, "-c", CHANGE], env={"PYTHONPATH": str(ROOT)}).stdout
    assert "type inet_service" in listed
    assert "elements = { 80 }" in listed
    assert "192.0.2.9" in listed
