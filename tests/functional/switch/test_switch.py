"""A `switch` instance: apps in the LAN of its uplinks, which are lent to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.switch.rig import PREFIX6, Rig
from tests.hosts import wait_until


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


def test_apps_get_their_addresses_from_the_lan(rig: Rig) -> None:
    cam = rig.app("cam")
    rig.configure({"cam": {}})
    rig.wait_attached("cam")
    rig.daemon.wait_ready("sw")
    assert "eth3" not in rig.host.sh("ip -br link")
    lease = cam.dhcp()
    assert lease["ip"].startswith("192.168.3.1")
    assert cam.fetch("http://192.168.3.1/") == f"gateway to {lease['ip']}\n"
    status = rig.daemon.instance("sw")
    assert status["uplinks"] == ["eth3"]
    assert status["type"] == "switch"
    assert [one["ifname"] for one in rig.daemon.get("uplinks")] == []


def test_what_apps_were_seen_with_is_told(rig: Rig) -> None:
    address = rig.host.sh("ip -br -4 addr show dev eth0", netns="cam").split()[2].partition("/")[0]
    address6 = wait_until(lambda: slaac(rig), what="an address by RA")
    rig.host.sh(f"ping -c 1 -W 30 {PREFIX6}1", netns="cam")
    wait_until(lambda: {address, address6} <= {*rig.status("cam")["addresses"]}, what="both addresses are told")


def slaac(rig: Rig) -> str:
    words = rig.host.sh("ip -br -6 addr show dev eth0 scope global", netns="cam").split()
    return words[2].partition("/")[0] if len(words) > 2 else ""


def test_no_service_of_ours_runs_and_nothing_has_an_address(rig: Rig) -> None:
    status = rig.daemon.instance("sw")
    assert [one["name"] for one in status["processes"]] == ["manager"]
    assert rig.host.sh("ip -br addr show scope global", netns="sw").split("\n") != []
    assert "inet" not in rig.host.sh("ip addr show br0; ip addr show eth3", netns="sw")
    assert "v-sw" not in rig.host.sh("ip -br link")


def test_the_uplink_goes_back_with_the_instance(rig: Rig) -> None:
    rig.daemon.configure({})
    wait_until(lambda: "eth3" in rig.host.sh("ip -br link"), what="eth3 is on the host again")
