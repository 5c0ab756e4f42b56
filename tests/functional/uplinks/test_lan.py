"""Two uplinks that can hardly be told apart: in one LAN, and with one address behind two modems."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.uplinks.conftest import instance
from tests.functional.uplinks.rig import Rig, ends
from tests.hosts import Topology
from tests.hosts.topology import OUTSIDE

INSTANCES = {
    "instances": {
        "red": instance("eth0", 81, ["8081:80/tcp"]),
        "blue": {**instance("eth1", 82, ["8082:80/tcp"]), "uplinks": ["eth1", "eth0"]},
    }
}
APPS = ("red/web", "blue/web")


def serve(rig: Rig) -> Rig:
    for app in rig.apps:
        rig.serve(app, "page", 80, app.partition("/")[0])
    return rig


@pytest.fixture(scope="module")
def lan() -> Iterator[Rig]:
    """eth0 192.168.0.2 and eth1 192.168.0.3, one gateway."""
    with Rig(Topology(2, lan=True), INSTANCES, APPS) as made:
        yield serve(made)


@pytest.fixture(scope="module")
def modems() -> Iterator[Rig]:
    """eth0 and eth1 are both 192.168.100.2; outside sees 203.0.113.1 and 203.0.113.5."""
    with Rig(Topology(2, modems=True), INSTANCES, APPS) as made:
        yield serve(made)


@pytest.mark.parametrize(("app", "number"), [("red/web", 0), ("blue/web", 1)])
def test_in_one_lan_each_goes_out_by_its_own(lan: Rig, app: str, number: int) -> None:
    mine, other = lan.cables[number], lan.cables[1 - number]
    pages = []
    seen = lan.seen("tcp port 80", lambda: pages.append(lan.fetch(app, f"http://{OUTSIDE}/")))
    assert pages == [f"outside to {mine.address}"]
    assert ends(seen[mine.ifname]) == {f"{mine.address} > {OUTSIDE}", f"{OUTSIDE} > {mine.address}"}
    assert seen[other.ifname] == []


def test_in_one_lan_each_port_map_is_reached_whoever_is_asked_for_by_arp(lan: Rig) -> None:
    doors = {"red": "http://192.168.0.2:8081/", "blue": "http://192.168.0.3:8082/"}
    for _ in range(3):
        lan.topology.gateway.sh("ip neigh flush all")
        pages = lan.reached(doors, host=lan.topology.outside, must=doors)
        assert pages == {"red": f"red to {OUTSIDE}", "blue": f"blue to {OUTSIDE}"}
    assert not lan.reached({"red": "http://192.168.0.3:8081/"}, host=lan.topology.outside)


@pytest.mark.parametrize(("app", "number"), [("red/web", 0), ("blue/web", 1)])
def test_in_one_lan_they_meet_outside_by_port_map(lan: Rig, app: str, number: int) -> None:
    mine, other = lan.cables[number], lan.cables[1 - number]
    pages = []
    door = f"http://{other.address}:{8082 - number}/"
    seen = lan.seen("tcp portrange 8081-8082", lambda: pages.append(lan.fetch(app, door)))
    assert pages[0].startswith("blue to" if number == 0 else "red to")
    both_ways = {f"{mine.address} > {other.address}", f"{other.address} > {mine.address}"}
    assert ends(seen[mine.ifname]) == ends(seen[other.ifname]) == both_ways


def test_behind_two_modems_with_one_address_each_goes_out_by_its_own(modems: Rig) -> None:
    assert modems.asker("red/web") == "203.0.113.1"
    assert modems.asker("blue/web") == "203.0.113.5"


def test_behind_two_modems_each_port_map_is_reached_by_its_own(modems: Rig) -> None:
    doors = {
        "red": "http://203.0.113.1:8081/", "blue": "http://203.0.113.5:8082/",
        "red by the other": "http://203.0.113.5:8081/", "blue by the other": "http://203.0.113.1:8082/",
    }  # fmt: skip
    outside = modems.topology.outside
    pages = modems.reached(doors, host=outside, must={"red", "blue"})
    assert set(pages) == {"red", "blue"}
    assert pages["red"].startswith("red to 203.0.113.2")
    assert pages["blue"].startswith("blue to 203.0.113.6")


def test_behind_two_modems_they_meet_outside(modems: Rig) -> None:
    pages = []
    seen = modems.seen(
        "tcp portrange 8081-8082", lambda: pages.append(modems.fetch("red/web", "http://203.0.113.5:8082/"))
    )
    assert pages[0].startswith("blue to ")
    assert seen["eth0"]
    assert seen["eth1"]


def test_behind_two_modems_a_failover_works(modems: Rig) -> None:
    modems.cables[1].unplug()
    try:
        modems.wait_bound("blue", "eth0")
        modems.wait_asker("blue/web", "203.0.113.1")
        assert modems.asker("red/web") == "203.0.113.1"
    finally:
        modems.cables[1].plug()
