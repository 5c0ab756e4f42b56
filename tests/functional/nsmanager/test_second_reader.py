"""What our netlink code reads of the kernel is what pyroute2 reads, which somebody else wrote."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from tests.hosts import Daemon, Topology
from tests.hosts.host import ROOT

CONFIG = {
    "instances": {
        "red": {
            "subnet": "10.1.0.0/24",
            "subnet6": "fd00:1::/64",
            "apps": {"web": {"address": "10.1.0.80", "ports": ["8080:80/tcp"]}, "gw": {"address": "10.1.0.7"}},
            "routes": [{"to": "198.51.100.0/24", "app": "gw"}],
        },
        "blue": {"subnet": "10.1.0.0/24"},
    }
}
# Both in the namespace that they are started in; each fact as the text that `ip` would take.
OURS = """
import asyncio, json
from nsmanager.items.address import Address
from nsmanager.items.link import Link
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.route import Route
from nsmanager.items.rule import Rule
from nsmanager.namespace import Namespace
from nsmanager.reconcile import observe

async def read():
    async with Namespace() as ns:
        found = (await observe(ns, (), (Address, Neighbour, Route, Rule))).values()
        links = [[ns.ifnames[index], index] for index in ns.ifnames]
        return {
            "links": links,
            "addresses": [[one.ifname, str(one.address)] for one in found if isinstance(one, Address)],
            "neighbours": [[one.ifname, str(one.address), one.mac] for one in found if isinstance(one, Neighbour)],
            "routes": [
                [str(one.to), one.table, one.type, str(one.via or ""), one.dev, str(one.src or "")]
                for one in found if isinstance(one, Route)
            ],
            "rules": [
                [
                    one.family, one.priority, one.table, one.target, one.iif, str(one.src or ""), str(one.dst or ""),
                    one.mark or 0,
                ]
                for one in found if isinstance(one, Rule)
            ],
        }

print(json.dumps(asyncio.run(read())))
"""
THEIRS = """
import json, socket
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import rt_type

OURS = 196
ANY = {socket.AF_INET: "0.0.0.0/0", socket.AF_INET6: "::/0"}

def prefix(message, attribute, length):
    address = message.get_attr(attribute)
    return f"{address}/{message[length]}" if address else ""

with IPRoute() as ipr:
    names = {one["index"]: one.get_attr("IFLA_IFNAME") for one in ipr.get_links()}
    addresses = [one for one in ipr.get_addr() if one.get_attr("IFA_PROTO") == OURS]
    neighbours = [
        one for family in ANY for one in ipr.get_neighbours(family=family) if one.get_attr("NDA_PROTOCOL") == OURS
    ]
    routes = [one for family in ANY for one in ipr.get_routes(family=family) if one["proto"] == OURS]
    rules = [one for family in ANY for one in ipr.get_rules(family=family) if one.get_attr("FRA_PROTOCOL") == OURS]
    print(json.dumps({
        "links": [[name, index] for index, name in names.items()],
        "addresses": [
            [names[one["index"]], f"{one.get_attr('IFA_LOCAL') or one.get_attr('IFA_ADDRESS')}/{one['prefixlen']}"]
            for one in addresses
        ],
        "neighbours": [
            [names[one["ifindex"]], one.get_attr("NDA_DST"), one.get_attr("NDA_LLADDR")] for one in neighbours
        ],
        "routes": [
            [
                prefix(one, "RTA_DST", "dst_len") or ANY[one["family"]], one.get_attr("RTA_TABLE"),
                {value: name for name, value in rt_type.items()}[one["type"]], one.get_attr("RTA_GATEWAY") or "",
                names.get(one.get_attr("RTA_OIF"), ""), one.get_attr("RTA_PREFSRC") or "",
            ]
            for one in routes
        ],
        "rules": [
            [
                4 if one["family"] == socket.AF_INET else 6, one.get_attr("FRA_PRIORITY"),
                one.get_attr("FRA_TABLE") or 0, one.get_attr("FRA_GOTO") or 0, one.get_attr("FRA_IIFNAME") or "",
                prefix(one, "FRA_SRC", "src_len"), prefix(one, "FRA_DST", "dst_len"), one.get_attr("FRA_FWMARK") or 0,
            ]
            for one in rules
        ],
    }))
"""


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with Topology() as made, Daemon(made.host, CONFIG) as daemon:
        daemon.wait_ready("red", "blue")
        yield made


@pytest.mark.parametrize(
    ("netns", "expected"),
    [
        (None, {"links", "addresses", "neighbours", "routes", "rules"}),
        ("red", {"links", "addresses", "neighbours", "routes"}),
    ],
)
def test_both_read_the_same(topology: Topology, netns: str | None, expected: set[str]) -> None:
    def read(script: str) -> dict[str, list[str]]:
        inside = ["ip", "netns", "exec", netns] if netns else []
        said = topology.host.run([*inside, sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT)}).stdout
        return {what: sorted(map(json.dumps, found)) for what, found in json.loads(said).items()}

    ours, theirs = read(OURS), read(THEIRS)
    for what, found in ours.items():
        assert found == theirs[what]
    assert {what for what, found in ours.items() if found} == expected
