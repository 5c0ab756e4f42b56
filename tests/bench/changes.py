"""What a change of the host's nft table costs the packets of others that are under way.

Streams run through one instance while the table is made anew again and again: as nsvisord does it, and, to compare, as
one transaction that deletes it and makes it again, which `nft -f` with `flush` or `delete` at its head does too.
`python -m tests.bench.changes`; with a word it is what runs in the host's namespace.
"""

from __future__ import annotations

import asyncio
import sys
import time

from nsmanager.items.nft_text import objects
from nsmanager.items.nftables import NftTable
from nsmanager.marks import NFT_TABLE
from nsmanager.namespace import Namespace
from tests.hosts.host import ROOT
from tests.hosts.topology import OUTSIDE
from tests.invariants.rig import TWO_TENANTS, UDP_PORT, Rig, finish

RATE = 20_000  # datagrams a second of each stream, at most
STREAMS = 2
SECONDS = 60.0
WAYS = ("in place", "deleted and made again")


async def change(how: str, seconds: float) -> None:
    """Make the table of this namespace anew for a while; print how often."""
    async with Namespace() as ns:
        listed = objects(await ns.nft(f"list table inet {NFT_TABLE}"))
        filled = [(name, body.partition("\t\telements = ")[0]) for _, name, body in listed if "dynamic" in body]
        text = "".join(f"\t{kind} {name} {{\n{body}\t}}\n" for kind, name, body in listed if "dynamic" not in body)
        table = NftTable("inet", NFT_TABLE, text, kept=tuple(f"set {name} {{\n{body}\t}}" for name, body in filled))
        times, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            if how == WAYS[0]:
                await table.put_in_force(ns)
            else:
                await ns.nft_change(table.transaction())
            times += 1
        print(times)


def main() -> None:
    """Compare both ways, beside the same streams."""
    with Rig(TWO_TENANTS) as rig, rig.app("red", "web") as app:
        rig.serve_flows()
        with rig.daemon.still():
            for how in WAYS:
                flows = [rig.flow("stream", OUTSIDE, UDP_PORT, RATE, app=app) for _ in range(STREAMS)]
                done = rig.host.run([sys.executable, "-m", "tests.bench.changes", how, SECONDS])
                counted = finish(*flows)
                sent, lost = (sum(one[what] for one in counted) for what in ("sent", "lost"))
                print(f"{how:22}: {done.stdout.strip():>5} times, {sent} datagrams, {lost} lost", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if len(sys.argv) > 1:
        asyncio.run(change(sys.argv[1], float(sys.argv[2])))
    else:
        main()
