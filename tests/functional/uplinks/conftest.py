"""A world that the tests of this folder share: three uplinks, IPv4 and IPv6, four instances with one subnet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.uplinks.rig import PYTHON, TALK, WHO_PORT, Rig
from tests.hosts import Topology

HOST_PORT = 8088  # of a service of the host, on all its addresses


def instance(uplink: str, number: int, ports: list[str], **more: Any) -> dict[str, Any]:
    """Return an instance whose only app is `web`, number `number` of the subnet that all have."""
    web = {"address": f"10.1.0.{number}", "ports": ports}
    return {"uplinks": [uplink], "subnet": "10.1.0.0/24", "apps": {"web": web}, **more}


WORLD: dict[str, Any] = {
    "uplinks": {name: {"next_hop": {"method": "none"}} for name in ("eth0", "eth1", "eth2")},
    "instances": {
        "red": instance("eth0", 81, ["8081:80/tcp", "4241:4242/udp"]),
        "pink": instance("eth0", 82, ["8082:80/tcp", "4242:4242/udp"]),
        "blue": instance("eth1", 83, ["8083:80/tcp", "4243:4242/udp"]),
        # Of eth1's own subnets: an outer neighbour's address looks like one inside.
        "over": {
            "uplinks": ["eth0"], "subnet": "192.168.1.0/24", "subnet6": "2001:db8:1::/64",
            "apps": {"web": {"address": "192.168.1.84", "ports": ["8084:80/tcp"]}},
        },
    },
}  # fmt: skip


@pytest.fixture(scope="package")
def world() -> Iterator[Rig]:
    """The world; each instance's app serves its page on port 80, the host one on HOST_PORT, `outside` a `who`."""
    with Rig(Topology(3, ipv6=True), WORLD, [f"{name}/web" for name in WORLD["instances"]]) as made:
        for app in made.apps:
            made.serve(app, "page", 80, app.partition("/")[0])
        made.host.serve_page("host", HOST_PORT)
        made.topology.outside.start([*PYTHON, TALK, "who", WHO_PORT])
        yield made
