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


COSTS = {"eth0": 0, "eth1": 10, "eth2": 0}
WORLD: dict[str, Any] = {
    "uplinks": {name: {"cost": cost, "next_hop": {"method": "none"}} for name, cost in COSTS.items()},
    "instances": {
        "red": instance("eth0", 81, ["8081:80/tcp", "4241:4242/udp"]),
        "pink": instance("eth0", 82, ["8082:80/tcp", "4242:4242/udp"]),
        "blue": instance("eth1", 83, ["8083:80/tcp", "4243:4242/udp"]),
        # Of eth1's own subnets: an outer neighbour's address looks like one inside.
        "over": {
            "uplinks": ["eth0"], "subnet": "192.168.1.0/24", "subnet6": "2001:db8:1::/64",
            "apps": {"web": {"address": "192.168.1.84", "ports": ["8084:80/tcp"]}},
        },
        "small": {"uplinks": ["eth2"]},  # whose MTU changes
        "pair": {"uplinks": ["eth2", "eth1"]},  # moves
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


# Asked often, but nobody who answers late on a slow machine is taken for silent.
OFTEN = {"interval": "500ms", "timeout": "500ms", "down": 3, "up": 1}
NEIGHBOUR = "192.168.0.9"  # a router in eth0's LAN
ENDPOINTS = ("198.51.100.11", "198.51.100.12", "198.51.100.13")  # at `outside`
MOVING: dict[str, Any] = {
    "uplinks": {
        "eth0": {
            "labels": ["wired", "wan"], "dns": ["192.168.0.1"], "next_hop": OFTEN,
            "endpoints": [
                {"to": f"icmp://{ENDPOINTS[0]}", **OFTEN}, {"to": f"http://{ENDPOINTS[1]}/", **OFTEN},
                {"to": f"tcp://{ENDPOINTS[2]}:80", **OFTEN},
            ],
        },
        "eth1": {"cost": 10, "labels": ["wan", "spare"], "dns": ["192.168.1.1"], "next_hop": OFTEN},
        "eth2": {"cost": 10, "labels": ["spare"], "dns": ["192.168.2.1"], "next_hop": OFTEN},
    },
    "instances": {
        "mover": {"uplinks": ["eth0", "eth1"]},
        "other": {"uplinks": ["eth2"]},  # sees nothing of what happens on eth0 and eth1
        "even": {"uplinks": ["spare"], "balance": True},
        "faithful": {"uplinks": ["eth1", "eth2"]},
        "wide": {},
        "none": {"uplinks": []},
        "guided": {
            "uplinks": ["eth0"], "subnet": "10.7.0.0/24",
            "routes": [
                {"to": "203.0.113.0/28", "via": NEIGHBOUR},
                {"to": "198.51.100.32/27", "uplink": "spare"},
                {"to": "203.0.113.64/26", "app": "gate"},
            ],
            "dhcp": {"connected_routes": True},
            "apps": {"gate": {"address": "10.7.0.5"}},
        },
        "claimer": {
            "uplinks": ["eth0", "eth1", "spare"], "subnet": "10.8.0.0/24",
            "apps": {"web": {"address": "10.8.0.80", "ports": ["eth1:8092:80/tcp", "spare:8093:80", "8094:80"]}},
        },
    },
}  # fmt: skip


@pytest.fixture(scope="package")
def moving() -> Iterator[Rig]:
    """Three uplinks that are probed, an app in each instance; eth1 and eth2 cost the same.

    A test leaves all uplinks as it found them.
    """
    topology = Topology(3)
    topology.outside.sh("; ".join(f"ip addr add {endpoint}/24 dev eth0" for endpoint in ENDPOINTS))
    apps = [f"{name}/web" for name in MOVING["instances"]]
    with Rig(topology, MOVING, [*apps, "guided/gate"]) as made:
        made.serve("claimer/web", "page", 80, "claimer")
        topology.outside.start([*PYTHON, TALK, "who", WHO_PORT])
        yield made
