"""Say after each of several changes of nftables which tables would be listed again; see test_own_changes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

from nsmanager.items.nftables import NftTable
from nsmanager.namespace import Namespace
from nsmanager.reconcile import adjust, reconcile

TABLES = (
    NftTable("inet", "nsvisor", "\tchain c { }\n", kept=("set s { type ipv4_addr; flags timeout; timeout 60s; }",)),
    NftTable("bridge", "nsvisor", "\tchain c { }\n"),
)


async def main(strange: str) -> None:
    """Print what was done and what is to be listed: at first, after an own change, after a stranger's, at the end."""
    async with Namespace() as ns:

        async def tell(what: str) -> None:
            generation = ns.nft_generation()
            unknown = [one.family for one in TABLES if ns.nft_known.get(one.key, (0, None))[0] != generation]
            report = await reconcile(ns, TABLES, (NftTable,))
            print(json.dumps([what, unknown, [change.key[1] for change in report.done]]))

        await adjust(ns, TABLES, (NftTable,))  # which doesn't look again
        await tell("made")
        await ns.nft_change("add element inet nsvisor s { 192.0.2.1 }")
        await tell("own change")
        subprocess.run(["nft", strange], check=True)  # noqa: ASYNC221
        await ns.nft_change("add element inet nsvisor s { 192.0.2.2 }")  # which doesn't hide the other one
        await tell("strange change")
        await tell("mended")
        await adjust(ns, (), (NftTable,))
        print(json.dumps(["deleted", [], [one.key[1] for one in await NftTable.observe(ns, [])]]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
