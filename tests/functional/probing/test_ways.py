"""Every probe leaves by its own uplink, whatever the host's default route is, with rp_filter=1 everywhere."""

from __future__ import annotations

from ipaddress import IPv4Interface

import msgspec
import pytest

from pubsub.topics import NextHopMethod
from supervisor.probing import Target
from tests.functional.probing.rig import SHORT, Rig, config, endpoint, next_hop
from tests.hosts import Capture

HEALTHY = {"healthy": True, "endpoints_up": 0, "reason": ""}


def sent(capture: Capture) -> list[str]:
    """Return the packets, but for resets: the kernel answers what comes after a probe has ended, by the host's way."""
    return [packet for packet in capture.packets if "Flags [R]" not in packet]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("to", ["icmp://198.51.100.1", "tcp://198.51.100.1:80", "http://198.51.100.1/"])
def test_an_endpoint_is_asked_by_the_uplink_alone(rig: Rig, to: str, number: int) -> None:
    own, other = f"eth{number}", f"eth{1 - number}"
    with Capture(rig.host, own, "ip") as here, Capture(rig.host, other, "ip") as there:
        rig.follow(Target(rig.uplink(number), config(endpoint(to))))
        seen = rig.wait_answered(own, 3)
        rig.follow()
    assert seen["health"][own] == {**HEALTHY, "endpoints_up": 1}
    assert any(f"192.168.{number}.2" in packet and "198.51.100.1" in packet for packet in here.packets)
    assert not sent(there)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("to", ["icmp://[2001:db8:f::1]", "tcp://[2001:db8:f::1]:8080", "http://[2001:db8:f::1]:8080/"])
def test_an_ipv6_endpoint_is_asked_by_the_uplink_alone(rig: Rig, to: str, number: int) -> None:
    rig.add_ipv6()
    rig.serve(200, address="2001:db8:f::1")
    wanted = Target(rig.uplink(number, gateway6=f"2001:db8:1{number}::1"), config(endpoint(to)))
    own, other = f"eth{number}", f"eth{1 - number}"
    with Capture(rig.host, own, "ip6") as here, Capture(rig.host, other, "dst host 2001:db8:f::1") as there:
        rig.follow(wanted)
        rig.wait_answered(own, 3)
        rig.follow()
    assert any(f"2001:db8:1{number}::2" in packet and "2001:db8:f::1" in packet for packet in here.packets)
    assert not sent(there)


def test_without_the_marks_way_back_the_other_uplink_would_hear_nothing(rig: Rig) -> None:
    """The rig's rp_filter bites: what the tests above prove isn't given for free."""
    rig.host.sh("nft delete table inet nsvisor")
    rig.follow(Target(rig.uplink(1), config(endpoint("icmp://198.51.100.1", timeout=SHORT))))
    reason = rig.wait_health("eth1", False)
    assert reason == "no endpoint answers: icmp://198.51.100.1: no echo reply within 300ms"


@pytest.mark.parametrize("number", [0, 1])
def test_a_gateway_is_asked_by_arp_from_the_uplinks_own_addresses(rig: Rig, number: int) -> None:
    uplink = rig.uplink(number)
    with Capture(rig.gateway, f"up{number}", "arp") as here, Capture(rig.host, f"eth{1 - number}", "arp") as there:
        rig.follow(Target(uplink, config(hop=next_hop())))
        seen = rig.wait_answered(uplink.ifname, 3)
        rig.follow()
    assert seen["health"][uplink.ifname] == HEALTHY
    asked = f"who-has 192.168.{number}.1 tell 192.168.{number}.2"
    assert any(asked in packet and f"{uplink.mac} > ff:ff:ff:ff:ff:ff" in packet for packet in here.packets)
    assert not there.packets


@pytest.mark.parametrize("number", [0, 1])
def test_a_gateway_is_asked_by_echo(rig: Rig, number: int) -> None:
    with Capture(rig.gateway, f"up{number}", "icmp") as here, Capture(rig.host, f"eth{1 - number}", "ip") as there:
        rig.follow(Target(rig.uplink(number), config(hop=next_hop(NextHopMethod.ICMP))))
        rig.wait_answered(f"eth{number}", 3)
        rig.follow()
    assert any(f"192.168.{number}.2 > 192.168.{number}.1" in packet for packet in here.packets)
    assert not there.packets


@pytest.mark.parametrize("gateway", ["2001:db8:11::1", "fe80::1"])
@pytest.mark.parametrize("method", [NextHopMethod.ARP, NextHopMethod.ICMP])
def test_an_ipv6_gateway_is_asked_on_its_link(rig: Rig, method: NextHopMethod, gateway: str) -> None:
    rig.add_ipv6()
    rig.gateway.sh("ip addr add fe80::1/64 dev up1 nodad; ip addr add fe80::1/64 dev up0 nodad")
    with Capture(rig.gateway, "up1", "icmp6") as here, Capture(rig.gateway, "up0", f"dst host {gateway}") as there:
        rig.follow(Target(rig.uplink(1, gateway6=gateway), config(hop=next_hop(method))))
        seen = rig.wait_answered("eth1", 3)
        rig.follow()
    assert f"next hop {gateway}" in [status["name"] for status in seen["statuses"]["eth1"]]
    kind = "neighbor solicitation" if method == NextHopMethod.ARP else "echo request"
    assert any(kind in packet and gateway in packet for packet in here.packets)
    assert not there.packets


def test_two_uplinks_in_one_lan_with_one_address_each_hear_their_own_answers(rig: Rig) -> None:
    """The gateways' ends are bridged; both uplinks are the same but for their MAC addresses."""
    rig.gateway.sh("""
      ip link add lan type bridge; ip link set up0 master lan; ip link set up1 master lan
      ip addr flush dev up1; ip addr flush dev up0; ip addr add 192.168.0.1/24 dev lan; ip link set lan up
    """)
    rig.host.sh("ip addr flush dev eth1; ip addr add 192.168.0.2/24 dev eth1")
    both = [rig.uplink(0), msgspec.structs.replace(rig.uplink(1), addresses=(IPv4Interface("192.168.0.2/24"),))]
    both[1] = msgspec.structs.replace(both[1], routes=both[0].routes)
    with Capture(rig.gateway, "up0", "arp") as first, Capture(rig.gateway, "up1", "arp") as second:
        rig.follow(*(Target(uplink, config(hop=next_hop())) for uplink in both))
        for uplink in both:
            rig.wait_answered(uplink.ifname, 3)
        rig.follow()
    for uplink, capture in zip(both, (first, second), strict=True):
        replies = [packet for packet in capture.packets if "192.168.0.1 is-at" in packet]
        assert any(f"> {uplink.mac}" in packet for packet in replies)


def test_an_uplink_without_an_address_of_the_family_says_so(rig: Rig) -> None:
    rig.follow(Target(rig.uplink(0), config(endpoint("tcp://[2001:db8:f::1]:80"))))
    assert rig.wait_health("eth0", False).endswith("eth0 has no IPv6 address")
