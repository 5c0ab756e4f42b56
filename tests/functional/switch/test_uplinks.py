"""Uplinks of a switch: several by a spanning tree, LLDP, one that comes late, one that others want too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.functional.switch.rig import Rig
from tests.hosts import Capture, Host, connect, wait_until

LLDP = "ether proto 0x88cc"
SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packet:
    packet.bind((sys.argv[1], 0))
    packet.send(bytes.fromhex("0180c200000e") + bytes.fromhex(sys.argv[2]) + b"\\x88\\xcc" + b"neighbour".ljust(60))
"""


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(links=2) as made:
        yield made


def port_state(rig: Rig, ifname: str) -> str:
    return rig.host.sh(f"bridge link show dev {ifname}", netns="sw").partition(" state ")[2].split()[0]


def test_a_loop_of_two_uplinks_is_cut_and_the_other_takes_over(rig: Rig) -> None:
    cam = rig.app("cam")
    rig.configure({"cam": {}})
    rig.wait_attached("cam")
    states = wait_until(lambda: settled(rig), what="the tree has settled")
    assert sorted(states.values()) == ["blocking", "forwarding"]
    lease = cam.dhcp()
    with Capture(rig.gateway, "lan0", f"arp and src host {lease['ip']}") as capture:
        cam.sh("ping -c 1 -W 10 192.168.3.250 || :")  # nobody's: asked for a few times
    assert 1 <= len(capture.packets) <= 5, "a loop would multiply them"
    used = next(ifname for ifname, state in states.items() if state == "forwarding")
    rig.gateway.sh(f"ip link set g-{used} down")
    wait_until(lambda: "forwarding" in {port_state(rig, one) for one in states if one != used}, what="the other one")
    assert cam.fetch("http://192.168.3.1/") == f"gateway to {lease['ip']}\n"
    assert set(rig.daemon.instance("sw")["uplinks"]) == {"eth3", "eth4"}


def settled(rig: Rig) -> dict[str, str]:
    states = {ifname: port_state(rig, ifname) for ifname in rig.links}
    assert set(states.values()) == {"blocking", "forwarding"}, states
    return states


def test_lldp_passes_where_it_is_asked_for(rig: Rig) -> None:
    cam = rig.app("cam")
    for lldp in (False, True):
        rig.configure({"cam": {}}, uplinks=["eth3"], switch={"lldp": lldp})
        rig.wait_attached("cam")
        wanted = 0x4000 if lldp else 0
        wait_until(partial(has_mask, rig, wanted), what="the bridge's setting")
        with Capture(cam, "eth0", LLDP) as inwards:
            rig.gateway.run(["python3", "-c", SEND, "g-eth3", "020000000077"])
        assert bool(inwards.packets) is lldp
        mac = cam.sh("cat /sys/class/net/eth0/address").strip().replace(":", "")
        with Capture(rig.gateway, "g-eth3", LLDP) as outwards:
            cam.run(["python3", "-c", SEND, "eth0", mac])
        assert bool(outwards.packets) is lldp


def has_mask(rig: Rig, mask: int) -> bool:
    return int(rig.host.sh("cat /sys/class/net/br0/bridge/group_fwd_mask", netns="sw"), 16) == mask


def test_an_uplink_that_comes_late_is_waited_for(rig: Rig) -> None:
    rig.configure({}, uplinks=["eth9"])
    wait_until(lambda: "waiting for link eth9" in rig.daemon.instance("sw")["reason"], what="it is waited for")
    assert rig.daemon.instance("sw")["state"] == "waiting"
    late = rig.stack.enter_context(Host("late"))
    connect(rig.host, "eth9", late, "g-eth9")
    rig.daemon.wait_ready("sw")
    assert rig.daemon.instance("sw")["uplinks"] == ["eth9"]
    late.sh("ip link set g-eth9 down")
    wait_until(lambda: "no carrier: eth9" in rig.daemon.instance("sw")["reason"], what="its carrier is gone")
    late.sh("ip link set g-eth9 up")
    rig.daemon.wait_ready("sw")


def test_an_instance_that_wants_it_by_its_label_is_told_whose_it_is(rig: Rig) -> None:
    sw = {"type": "switch", "uplinks": ["eth3"]}
    rig.daemon.configure({"instances": {"sw": sw}, "uplinks": {"eth3": {"labels": ["plant"]}}})
    rig.daemon.wait_ready("sw")
    with_red = {"sw": sw, "red": {"uplinks": ["plant"]}}
    rig.daemon.configure({"instances": with_red, "uplinks": {"eth3": {"labels": ["plant"]}}})
    wait_until(
        lambda: [one for one in rig.daemon.get() if one["name"] == "red" and "lent to instance sw" in one["reason"]],
        what="whose it is",
    )
