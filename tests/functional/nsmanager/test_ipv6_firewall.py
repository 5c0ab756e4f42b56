"""What an app may not do by IPv6: another's address, another router, redirects; and what a path can't take."""

from __future__ import annotations

import sys

import pytest

from tests.functional.nsmanager.rig import APP6, BRIDGE6, LINK6, NAME, Rig
from tests.functional.nsmanager.test_ipv6 import REFUSED, addresses, online, router
from tests.hosts import Capture, Host, wait_until

FORGED = "2001:db8:66::7"
ROGUE = """
interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix 2001:db8:66::/64 {}; };
"""
REDIRECT = """
import socket, sys
router, target, destination = sys.argv[1:]
packed = [socket.inet_pton(socket.AF_INET6, address) for address in (target, destination)]
with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
    raw.bind((target, 0, 0, socket.if_nametoindex("eth0")))
    raw.sendto(bytes([137, 0, 0, 0, 0, 0, 0, 0]) + packed[0] + packed[1], (router, 0, 0, socket.if_nametoindex("eth0")))
"""


@pytest.fixture
def app(rig: Rig) -> Host:
    """The app of an instance with IPv6."""
    return online(rig.with_ipv6())


def test_an_app_with_a_forged_address_reaches_nothing(rig: Rig, app: Host) -> None:
    rig.host.serve_page("host")
    assert LINK6.address6 is not None
    rig.host.sh(f"ip -6 route add {FORGED}/128 via {LINK6.address6.ip}")
    rig.inside(f"ip -6 route add {FORGED}/128 via {APP6}")
    app.sh(f"ip addr add {FORGED}/128 dev eth0 nodad")
    fetch = ["curl", "-sSf", "--max-time", "20", "--interface"]
    with Capture(rig.host, f"v-{NAME}", "ip6") as seen:
        app.run([*fetch, str(APP6), f"http://[{LINK6.gateway6}]/"])
        with pytest.raises(AssertionError, match=REFUSED):
            app.run([*fetch[:3], "1", fetch[-1], FORGED, f"http://[{LINK6.gateway6}]/"])
        app.sh(f"ping -6 -c 1 -W 30 -I {APP6} {BRIDGE6.ip}")
        with pytest.raises(AssertionError):
            app.sh(f"ping -6 -c 2 -i 0.2 -W 1 -I {FORGED} {BRIDGE6.ip}")
    assert [packet for packet in seen.packets if f"{LINK6.address6.ip}." in packet]
    assert not [packet for packet in seen.packets if FORGED in packet or str(APP6) in packet]


def test_another_router_on_the_bridge_changes_nothing_of_the_instance(rig: Rig, app: Host) -> None:
    other = rig.attach("other")
    rig.inside("ip link set p-other master br0 up")
    wait_until(lambda: addresses(other))
    before = rig.state()
    other.put_file("/run/radvd.conf", ROGUE)
    other.sh("sysctl -qw net.ipv6.conf.all.forwarding=1")
    with Capture(rig.host, "br0", "ip6[40] == 134", netns=NAME) as seen:
        other.sh("radvd -C /run/radvd.conf -p /run/radvd.pid -m none")
        wait_until(lambda: any(address.startswith("2001:db8:66:") for address in addresses(app)))
    assert seen.packets
    assert rig.state() == before


def test_a_redirect_changes_no_way_of_the_instance(rig: Rig, app: Host) -> None:
    other = rig.attach("other")  # by a port that is no app's: no app may send one
    rig.inside("ip link set p-other master br0 up")
    wait_until(lambda: addresses(other))
    ours = other.sh("ip -o -6 addr show dev eth0 scope link").split()[3].split("/")[0]
    wanted = ["ip", "-6", "route", "get", str(LINK6.gateway6)]
    before = rig.host.run(wanted, netns=NAME).stdout
    with Capture(rig.host, "br0", "ip6[40] == 137", netns=NAME) as seen:
        other.run([sys.executable, "-c", REDIRECT, router(app), ours, str(LINK6.gateway6)])
    assert len(seen.packets) == 1
    assert rig.host.run(wanted, netns=NAME).stdout == before
    assert "Icmp6InRedirects                \t0" in rig.inside("cat /proc/net/snmp6")


def test_an_app_reaches_dns_and_echo_of_the_instance_and_nothing_else(rig: Rig, app: Host) -> None:
    rig.host.serve_page("manager", port=8000, netns=NAME)
    app.sh(f"ping -6 -c 1 -W 30 {BRIDGE6.ip}; ping -6 -c 1 -W 30 {router(app)}%eth0")
    for address in (f"[{BRIDGE6.ip}]", f"[{router(app)}%25eth0]"):
        with pytest.raises(AssertionError, match=REFUSED):
            app.fetch(f"http://{address}:8000/", timeout=0.5)
    assert rig.host.fetch(f"http://[{BRIDGE6.ip}]:8000/", netns=NAME).startswith("manager")


def test_what_does_not_fit_is_told(app: Host) -> None:
    """The bridge's port takes four bytes more than its MTU (a VLAN tag), so that 1501 come as far as to the router."""
    app.dhcp()
    app.sh("sysctl -qw net.ipv6.conf.eth0.accept_ra_mtu=0; ip link set eth0 mtu 1501")
    for ping, far, header, words in (
        ("ping", "100.127.0.0", 28, "Frag needed and DF set (mtu = 1500)"),
        ("ping -6", str(LINK6.gateway6), 48, "Packet too big: mtu=1500"),
    ):
        app.sh(f"{ping} -M do -c 1 -W 30 -s {1500 - header} {far}")
        told = app.sh(f"{ping} -M do -c 1 -W 30 -s {1501 - header} {far}", check=False)
        assert words in told


def test_connections_are_told_what_fits(rig: Rig, app: Host) -> None:
    app.dhcp()
    rig.publish(mtu=1400)
    rig.wait_ready()
    rig.host.sh(f"ip link set v-{NAME} mtu 1400")
    rig.host.serve_page("host")
    app.sh("ip link set eth0 mtu 1500; sysctl -qw net.ipv6.conf.eth0.mtu=1500")
    with Capture(rig.host, f"v-{NAME}", "tcp") as seen:
        app.fetch(f"http://[{LINK6.gateway6}]/")
        app.fetch("http://100.127.0.0/")
    sizes = [packet.partition("mss ")[2].partition(",")[0] for packet in seen.packets if "Flags [S]" in packet]
    assert sizes == ["1340", "1360"]
