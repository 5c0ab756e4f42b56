"""Runs in a host with eth0 and eth1, without nsvisord: who else than the fast path could move an instance here?

`steering.py steer|pass`: acts on events only, or plans all anew and leaves the rest undone. Prints a line of JSON at
the start and after each line that it reads, when something happened to the uplinks.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

from nsmanager.namespace import Namespace
from pubsub.topics import NetworkInstanceConfig, UplinkConfig
from supervisor.host import HostSide
from supervisor.plan import Lot, Wanted

SUBNET = IPv4Network("10.1.0.0/24")
WANTED = Wanted(
    {name: NetworkInstanceConfig(subnet=SUBNET, uplinks=uplinks) for name, uplinks in
     {"red": ("eth0", "eth1"), "blue": ("eth0",)}.items()},
    {"eth1": UplinkConfig(cost=1)},
)  # fmt: skip
LOTS = {"red": Lot(1, SUBNET), "blue": Lot(2, SUBNET)}


async def main(how: str) -> None:
    """Plan and make the host's side once, then let only one thing act."""
    async with Namespace() as ns:
        host = HostSide(Path("/run"), ns, {})
        await host.plan_anew(WANTED, LOTS, (), {}, {})
        await host.reconcile()
        assert not host.report.errors, host.report.errors
        moved = True
        while True:
            print(json.dumps({"moved": moved, "bound": bound(), "ways": ways()}), flush=True)
            if not sys.stdin.readline():
                return
            if how == "steer":
                moved = await host.steer(WANTED, LOTS)
            else:
                await host.plan_anew(WANTED, LOTS, (), {}, {})


def ways() -> list[str]:
    """Return the uplinks that have a default route in their own tables, as the kernel has them."""
    listing = subprocess.run(
        ["ip", "-j", "route", "show", "table", "all", "type", "unicast", "default"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return sorted({one["dev"] for one in json.loads(listing) if one.get("table", "main") != "main"})


def bound() -> dict[str, int]:
    """Return the marks by link, as the kernel has them."""
    listing = subprocess.run(
        ["nft", "-j", "list", "map", "inet", "nsvisor", "uplink_of"], check=True, capture_output=True, text=True
    ).stdout
    (found,) = (entry["map"] for entry in json.loads(listing)["nftables"] if "map" in entry)
    return dict(found["elem"])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
