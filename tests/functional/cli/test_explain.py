"""What `nsvisor explain` says of a packet's way is what happens to one that is sent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hosts import Daemon, Topology, wait_until
from tests.hosts.topology import OUTSIDE, OUTSIDE6

INSTANCES = {
    "red": {
        "subnet": "10.1.0.0/24",
        "uplinks": ["eth0"],
        "apps": {"web": {"address": "10.1.0.80", "ports": ["8080:80/tcp"]}},
    },
    "blue": {"subnet": "10.1.0.0/24", "uplinks": ["eth1"]},
    "same": {"subnet": "10.3.0.0/24", "uplinks": ["eth0"]},
    "lone": {"subnet": "10.9.0.0/24", "uplinks": []},
    "both": {
        "subnet": "10.4.0.0/24",
        "balance": True,
        "routes": [
            {"to": "172.16.0.0/12", "uplink": "eth1"},
            {"to": "172.31.0.0/16", "uplink": "eth1", "via": "192.168.1.9"},
            {"to": "10.20.0.0/16", "app": "router"},
        ],
        "apps": {"web": {"address": "10.4.0.80"}, "router": {"address": "10.4.0.7"}},
    },
    "ruled": {
        "subnet": "10.5.0.0/24",
        "uplinks": ["eth0"],
        "apps": {
            "web": {
                "address": "10.5.0.80",
                "rules": [
                    {"name": "pages", "protocol": "tcp", "ports": ["80"], "limit": "100/s"},
                    {"name": "database", "apps": ["db"], "protocol": "tcp", "ports": ["5432"]},
                ],
            },
            "db": {
                "address": "10.5.0.81",
                "rules": [
                    {"name": "from-web", "direction": "in", "apps": ["web"], "protocol": "tcp", "ports": ["5432"]}
                ],
            },
        },
    },
}
PAGE = "busybox httpd -f -p [::]:80 -h /run/page"
HOST_SERVICE = 8222  # TCP port of a service of the host itself
NOBODYS = "100.127.255.254"  # of the link pool, behind its last link; its first address is somebody's now and then


class Lab:
    """A daemon with some instances on two uplinks; red's app serves a page."""

    def __init__(self, topology: Topology, daemon: Daemon) -> None:
        self.host = topology.host
        self.daemon = daemon

    def explain(self, instance: str, *args: object) -> dict[str, Any]:
        """Return what `explain -o json` prints."""
        found: dict[str, Any] = json.loads(self.daemon.cli("explain", instance, *args, "-o", "json", check=True).stdout)
        return found

    def fetch(self, instance: str, address: str, port: int, patience: int) -> str:
        """Return the page that an app of the instance gets within `patience` seconds; empty: none."""
        url = f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"
        # A guest has its IPv6 address only when a router has told it the prefix.
        retry = ["--retry", "30", "--retry-all-errors", "--retry-delay", "1", "--retry-max-time", patience]
        return self.daemon.cli("run", instance, "--", "curl", "-sS", "--max-time", patience, *retry, url).stdout


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Topology(2, ipv6=True) as topology, Daemon(topology.host, {"instances": INSTANCES}) as daemon:
        daemon.wait_ready(*INSTANCES)
        host = topology.host
        host.serve_page("the host", HOST_SERVICE)
        host.put_file("/run/page/index.html", "red's page")
        app = host.popen(
            [daemon.command, "run", "red", "--name", "web", "--", *PAGE.split()],
            env=daemon.environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(lambda: "red's page" in host.fetch("http://192.168.0.2:8080/"), what="the app")
        yield Lab(topology, daemon)
        app.terminate()
        app.wait()


def passed(way: dict[str, Any]) -> list[str]:
    """Return the namespaces that it passes, in order."""
    places = [step["where"] for step in way["steps"]]
    return [place for place, before in zip(places, [None, *places], strict=False) if place != before]


def decided(way: dict[str, Any], what: str, where: str = "host") -> list[str]:
    """Return the texts by which a step was decided."""
    return [words for step in way["steps"] if (step["what"], step["where"]) == (what, where) for words in step["by"]]


@pytest.mark.parametrize(
    ("instance", "address", "port", "end", "places"),
    [
        ("red", OUTSIDE, 80, "leaves", ["red", "host"]),
        ("blue", OUTSIDE, 80, "leaves", ["blue", "host"]),
        ("same", "192.168.0.2", 8080, "delivered", ["same", "host", "red"]),
        ("red", "192.168.0.2", 8080, "delivered", ["red", "host", "red"]),
        ("blue", "192.168.0.2", 8080, "delivered", ["blue", "host", "outside", "host", "red"]),
        ("same", "192.168.0.2", HOST_SERVICE, "dropped", ["same", "host"]),
        ("same", NOBODYS, HOST_SERVICE, "unreachable", ["same", "host"]),  # the link pool is nobody's outside
        ("lone", OUTSIDE, 80, "unreachable", ["lone"]),
        ("red", OUTSIDE6, 80, "leaves", ["red", "host"]),
        ("same", "2001:db8::2", 8080, "delivered", ["same", "host", "red"]),
        ("blue", "192.168.0.2", HOST_SERVICE, "dropped", ["blue", "host", "outside", "host"]),  # as martian
        ("blue", OUTSIDE6, 80, "leaves", ["blue", "host"]),
        ("blue", "2001:db8::2", 8080, "delivered", ["blue", "host", "outside", "host", "red"]),
        ("same", "2001:db8::2", HOST_SERVICE, "dropped", ["same", "host"]),
        ("lone", OUTSIDE6, 80, "unreachable", ["lone"]),
    ],
)
def test_the_way_is_the_one_that_packets_take(  # noqa: PLR0917  # a table
    lab: Lab, instance: str, address: str, port: int, end: str, places: list[str]
) -> None:
    way = lab.explain(instance, "--to", address, "--port", f"{port}/tcp")
    assert (way["end"], passed(way)) == (end, places), way
    assert "unknown" not in {step["what"] for step in way["steps"]}, way
    reached = end in ("leaves", "delivered")
    page = lab.fetch(instance, address, port, patience=30 if reached else 2)
    assert bool(page) == reached
    if end == "leaves" and reached:
        source = [step["result"] for step in way["steps"] if step["what"] == "nat"][-1].removeprefix("source becomes ")
        assert page == f"outside to {source}\n"


def test_each_step_names_what_decided_it(lab: Lab) -> None:
    way = lab.explain("red", "--to", OUTSIDE, "--port", "80/tcp")
    link = next(step["result"].split()[-1] for step in way["steps"] if step["what"] == "nat")
    assert (way["app"], way["source"]) == ("web", "10.1.0.80")
    assert decided(way, "route", "red")[0].startswith("default via 100.127.")
    assert decided(way, "nat", "red") == [f'postrouting: oifname "up0" ip saddr 10.1.0.0/24 snat ip to {link}']
    mark = int(lab.daemon.get("uplinks")[0]["mark"])
    assert f'@uplink_of has "v-red" : 0x{mark:08x}' in decided(way, "mark")
    assert f'@link_addresses has "v-red" . {link}' in decided(way, "mark")
    [rule] = decided(way, "rule")
    assert f"fwmark 0x{mark:x}/0xffff" in rule
    [route] = decided(way, "route")
    assert route.startswith("default via 192.168.0.1 dev eth0 table ")
    assert f'@ways_out has 0x{mark:08x} . "eth0"' in decided(way, "filter")
    assert [step["result"] for step in way["steps"] if step["where"] == "host" and step["what"] == "nat"] == [
        "source becomes 192.168.0.2"
    ]


def test_its_commands_can_be_repeated(lab: Lab) -> None:
    way = lab.explain("blue", "--to", "192.168.0.2", "--port", "8080/tcp")
    commands = {command for step in way["steps"] for command in step["asked"]}
    assert len(commands) > 10
    for command in commands:
        if " uplink_addresses " in command or " port_maps " in command:
            assert "elements = {" in lab.host.sh(command)
        else:
            lab.host.sh(command)


@pytest.mark.parametrize(
    ("address", "next_hop"), [("172.16.3.3", "192.168.1.1"), ("172.31.3.3", "192.168.1.9"), (OUTSIDE, "192.168.0.1")]
)
def test_a_static_route_leads_another_way(lab: Lab, address: str, next_hop: str) -> None:
    way = lab.explain("both", "--to", address)
    assert way["end"] == "leaves"
    assert f" to {next_hop}, " in way["words"]
    assert any(words.startswith("way_v-both: ") for words in decided(way, "mark"))


def test_connections_that_are_spread_are_said_to_be(lab: Lab) -> None:
    [mark] = [step["result"] for step in lab.explain("both")["steps"] if step["what"] == "mark"]
    marks = [hex(uplink["mark"]) for uplink in lab.daemon.get("uplinks")]
    assert mark == f"{marks[0]}, for example: each connection is dealt one of {', '.join(marks)}"


def test_an_app_may_be_the_router(lab: Lab) -> None:
    way = lab.explain("both", "--to", "10.20.1.1", "--app", "web")
    assert (way["end"], passed(way)) == ("delivered", ["both"])
    assert "by 10.4.0.7 as the router" in way["words"]


def test_the_own_subnet_is_switched(lab: Lab) -> None:
    way = lab.explain("red", "--to", "10.1.0.9")
    assert way["end"] == "bridge"
    assert "own subnet" in way["words"]


def test_an_address_of_another_instances_subnet_is_somewhere_outside(lab: Lab) -> None:
    way = lab.explain("same", "--to", "10.1.0.80", "--port", "80/tcp")
    assert (way["end"], passed(way)) == ("leaves", ["same", "host"])


def test_the_instances_own_services_are_told(lab: Lab) -> None:
    assert lab.explain("red", "--to", "10.1.0.1", "--port", "53/udp")["end"] == "delivered"
    assert lab.explain("red", "--to", "10.1.0.1", "--port", "22/tcp")["end"] == "dropped"


def test_where_no_protocol_has_a_name_it_is_the_same(lab: Lab) -> None:
    """Without /etc/protocols, as on a small machine, nft lists their numbers and takes nothing else."""
    ways = [
        ("red", "--to", "10.1.0.1", "--port", "53/udp"),
        ("red", "--to", "192.168.0.2", "--port", "8080/tcp"),
        ("ruled", "--app", "web", "--to", OUTSIDE, "--port", "80/tcp"),
        ("ruled", "--app", "web", "--to", "10.5.0.81", "--port", "5432/tcp"),
        ("red", "--to", "10.1.0.1"),
    ]
    before = [lab.explain(*way)["words"] for way in ways]
    lab.host.sh("touch /etc/protocols; mount --bind /dev/null /etc/protocols")
    try:
        assert "proto 6" in lab.host.sh("nft list table inet nsvisor", netns="ruled")
        assert [lab.explain(*way)["words"] for way in ways] == before
    finally:
        lab.host.sh("umount /etc/protocols")


def test_a_forged_source_is_refused(lab: Lab) -> None:
    way = lab.explain("red", "--from", "10.77.0.1")
    assert way["end"] == "dropped"
    assert "martian" in way["words"]


def test_a_strangers_firewall_is_named(lab: Lab) -> None:
    lab.host.sh("nft 'table ip other { chain pass { type filter hook forward priority 10; policy drop; }; }'")
    try:
        way = lab.explain("red")
    finally:
        lab.host.sh("nft delete table ip other")
    assert way["end"] == "dropped"
    assert "policy drop (table ip other)" in way["words"]


def test_without_our_table_the_rule_that_fails_closed_is_named(lab: Lab) -> None:
    lab.daemon.stop()
    try:
        lab.host.sh("nft delete table inet nsvisor")
        way = lab.explain("red")
    finally:
        lab.daemon.start()
    assert way["end"] == "unreachable"
    assert any("fwmark 0/0xffff unreachable" in words for words in decided(way, "route")), way
    wait_until(lambda: lab.explain("red")["end"] == "leaves", what="the way's return")


def test_an_uplink_that_is_down_is_named(lab: Lab) -> None:
    lab.host.sh("ip link set eth0 down")
    try:
        way = wait_until(
            lambda: found if (found := lab.explain("red"))["end"] == "unreachable" else None, what="the uplink's end"
        )
        hairpin = lab.explain("blue", "--to", "192.168.0.2", "--port", "8080/tcp")
        other = lab.explain("blue")
    finally:
        lab.host.sh("ip link set eth0 up; ip route replace default via 192.168.0.1")
    assert "eth0 has no way there now" in way["words"]
    assert any(words.startswith("unreachable default") for words in decided(way, "route"))
    assert (hairpin["end"], other["end"]) == ("leaves", "leaves")
    wait_until(lambda: lab.explain("red")["end"] == "leaves", what="the way's return")


def test_the_text_ends_with_the_outcome_and_wide_shows_commands(lab: Lab) -> None:
    text = lab.daemon.cli("explain", "red", check=True).stdout
    assert text.splitlines()[-1].startswith("leaves: by eth0 to 192.168.0.1")
    assert "# " not in text
    wide = lab.daemon.cli("explain", "red", "-o", "wide", check=True).stdout
    assert "# nft get element inet nsvisor uplink_of '{ \"v-red\" }'" in wide
    assert lab.daemon.cli("explain", "red", "-o", "name", check=True).stdout == "leaves\n"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("nobody",), 3),
        (("red", "--app", "nobody"), 3),
        (("red", "--to", "2001:db8::1", "--from", "10.1.0.80"), 2),
        (("red", "--to", "www.example.test"), 2),
        (("nobody", "--from", "10.1.0.80"), 3),
    ],
)
def test_mistakes_are_told(lab: Lab, args: tuple[str, ...], code: int) -> None:
    done = lab.daemon.cli("explain", *args)
    assert done.returncode == code, done.stderr
    assert "internal error" not in done.stderr


def test_one_without_rights_is_told_so(lab: Lab) -> None:
    done = lab.host.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", lab.daemon.command, "explain", "red"],
        env=lab.daemon.environment, check=False,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr


@pytest.mark.parametrize(
    ("to", "port", "end", "rules"),
    [
        (OUTSIDE, 80, "leaves", ["met/web/pages"]),
        (OUTSIDE, 443, "dropped", ["met/web/default"]),
        ("10.5.0.81", 5432, "bridge", ["met/web/database", "met/db/from-web"]),
        ("10.5.0.81", 22, "dropped", ["met/web/default"]),
    ],
)
def test_the_apps_rules_are_named(lab: Lab, to: str, port: int, end: str, rules: list[str]) -> None:
    way = lab.explain("ruled", "--app", "web", "--to", to, "--port", f"{port}/tcp")
    assert way["end"] == end, way
    decided_by = " ".join(decided(way, "filter", "ruled"))
    assert [rule for rule in rules if rule in decided_by] == rules, way
    assert "unknown" not in {step["what"] for step in way["steps"]}, way
