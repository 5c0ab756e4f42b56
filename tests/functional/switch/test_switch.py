"""A `switch` instance: apps in the LAN of its uplinks, which are lent to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.switch.rig import PREFIX6, Rig
from tests.hosts import Capture, wait_until

SPOOF = Path(__file__).with_name("spoof.py")


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


def test_commands_run_in_a_switch_and_as_its_apps(rig: Rig) -> None:
    assert "eth3" in rig.daemon.cli("exec", "sw", "--", "ip", "-br", "link", check=True).stdout
    fetch = ("curl", "-sSf", "--max-time", "30", "http://192.168.3.1/")
    page = rig.daemon.cli("run", "sw", "--", *fetch, check=True).stdout
    assert page.startswith("gateway to 192.168.3.1")


def test_no_service_of_ours_runs_and_nothing_has_an_address(rig: Rig) -> None:
    status = rig.daemon.instance("sw")
    assert [one["name"] for one in status["processes"]] == ["manager"]
    assert rig.host.sh("ip -br addr show scope global", netns="sw").split("\n") != []
    assert "inet" not in rig.host.sh("ip addr show br0; ip addr show eth3", netns="sw")
    assert "v-sw" not in rig.host.sh("ip -br link")


def test_rules_hold_for_what_is_bridged(rig: Rig) -> None:
    """Apps among each other too; a change of the rules cuts what they let pass no more."""
    rig.app("plc").serve_page("plc")
    rig.gateway.serve_page("other", 81)
    web = {"name": "web", "remote": ["192.168.3.1"], "protocol": "tcp", "ports": [80]}
    rig.configure({"cam": {"rules": [web]}, "plc": {}})
    rig.wait_attached("cam", "plc")
    cam, plc = rig.host_of("cam"), rig.host_of("plc")
    lease, other = cam.dhcp(), plc.dhcp()
    rig.wait_rules("cam", "web")
    assert cam.fetch("http://192.168.3.1/") == f"gateway to {lease['ip']}\n"
    for url in ("http://192.168.3.1:81/", f"http://{other['ip']}/", f"http://[{PREFIX6}1]/"):
        with pytest.raises(AssertionError, match="exit 28"):
            cam.fetch(url, timeout=2)
    assert plc.fetch("http://192.168.3.1:81/") == f"other to {other['ip']}\n"
    with pytest.raises(AssertionError, match="exit 28"):  # nothing is let in to it either
        plc.fetch(f"http://{lease['ip']}/", timeout=2)
    wait_until(lambda: dropped(rig, "cam", "default"), what="drops are counted")
    rig.configure({"cam": {"rules": []}, "plc": {}})
    rig.wait_rules("cam")
    with pytest.raises(AssertionError, match="exit 28"):
        cam.fetch("http://192.168.3.1/", timeout=2)
    assert cam.dhcp()["ip"] == lease["ip"]


def dropped(rig: Rig, app: str, rule: str) -> int:
    return next((one["drops"] for one in rig.status(app)["rules"] if one["name"] == rule), 0)


def test_a_limit_holds_for_what_is_bridged(rig: Rig) -> None:
    few = {"name": "few", "remote": ["192.168.3.1"], "protocol": "icmp", "limit": "5/m", "burst": 5}
    rig.configure({"cam": {"rules": [few]}, "plc": {}})
    rig.wait_rules("cam", "few")
    said = rig.host_of("cam").sh("ping -c 60 -i 0.01 -W 1 192.168.3.1 || :")
    received = int(said.partition(" received")[0].rpartition(" ")[2])
    assert 1 <= received <= 10, said


def test_an_app_sends_only_what_is_its_own(rig: Rig) -> None:
    """Another's addresses, answers of a DHCP server, RAs, BPDUs and another MAC address stay inside."""
    rig.configure({"cam": {}, "plc": {}})
    rig.wait_attached("cam", "plc")
    cam, plc = rig.host_of("cam"), rig.host_of("plc")
    cam.dhcp()
    victim = plc.dhcp()["ip"]
    mac = cam.sh("cat /sys/class/net/eth0/address").strip()
    with Capture(rig.gateway, "lan0", f"ether src {mac} or ether src 02:00:00:00:00:99") as capture:
        cam.sh(f"ip addr add {victim}/24 dev eth0; ping -c 1 -W 1 -I {victim} 192.168.3.250 >&- || :")
        cam.run([sys.executable, "-SE", SPOOF, "eth0", mac, victim])
        cam.fetch("http://192.168.3.1/")  # it still has its own
    assert [line for line in capture.packets if "80" in line], "its own packets were seen"
    for text in (victim, ".67 > ", "router advertisement", "STP", "02:00:00:00:00:99 >"):
        assert not [line for line in capture.packets if text in line], f"{text}: {capture.packets}"
    wait_until(lambda: rig.status("cam")["spoofed"] > 3, what="it is counted")


def test_the_uplink_goes_back_with_the_instance(rig: Rig) -> None:
    rig.daemon.configure({})
    wait_until(lambda: "eth3" in rig.host.sh("ip -br link"), what="eth3 is on the host again")
