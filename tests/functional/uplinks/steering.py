"""Runs in a host with eth0 and eth1, without nsvisord: who else than the fast path could move an instance here?

Prints one JSON object: where red is bound to before eth0 goes down, after it and after another look.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
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


async def main() -> None:
    """Plan and make the host's side once, then let only `steer` act."""
    async with Namespace() as ns:
        host = HostSide(Path("/run"), ns, {})
        await host.plan_anew(WANTED, LOTS, (), {}, {})
        await host.reconcile()
        assert not host.report.errors, host.report.errors
        found: dict[str, object] = {"before": bound()}
        take_down("eth0")
        found["moved"] = await host.steer(WANTED, LOTS)
        found["after"] = bound()
        found["again"] = await host.steer(WANTED, LOTS)
        print(json.dumps(found))


def take_down(ifname: str) -> None:
    """Set a link down, as an administrator does."""
    subprocess.run(["ip", "link", "set", ifname, "down"], check=True)


def bound() -> dict[str, int]:
    """Return the marks by link, as the kernel has them."""
    listing = subprocess.run(
        ["nft", "-j", "list", "map", "inet", "nsvisor", "uplink_of"], check=True, capture_output=True, text=True
    ).stdout
    (found,) = (entry["map"] for entry in json.loads(listing)["nftables"] if "map" in entry)
    return dict(found["elem"])


if __name__ == "__main__":
    asyncio.run(main())
