"""What isn't an app's to send: dropped and counted; each shown first to pass where it is somebody's to send."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator

import msgspec
import pytest

from pubsub.topics import NamespaceApp
from pubsub.values import MacAddress
from tests.functional.rules.rig import DB, DB6, GATEWAY, PROBE, WEB, WEB6, RulesRig, rules
from tests.hosts import Capture, Host, wait_until

MAC, OTHER_MAC, ALL, ALL6 = "020000000080", "020000000081", "ff" * 6, "333300000001"
LINK_LOCAL, LINK_LOCAL6_DB = "fe80::ff:fe00:80", "fe80::ff:fe00:81"
EVERYBODY = "ff02::1"
# Kernels tell their multicast groups by themselves (RFC 3810).
SEEN = "(ether src 02:00:00:00:00:80 or ether src 02:00:00:00:00:aa) and not ether dst 33:33:00:00:00:16"
FREE, FREE6 = "10.1.0.200", "fd00:1::200"


def packed(address: str) -> str:
    return ipaddress.ip_address(address).packed.hex()


def checksum(data: bytes) -> int:
    """Return the internet checksum (RFC 1071)."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def arp(source: str, *, mac: str = MAC, said: str = MAC, answer: bool = False) -> str:
    return f"{ALL}{mac}0806000108000604000{2 if answer else 1}{said}{packed(source)}{'00' * 6}{packed(DB)}"


def udp(source: str, *, mac: str = MAC, ports: tuple[int, int] = (1000, 1001), to: str = "255.255.255.255") -> str:
    """Return a frame with an empty datagram, of either family."""
    version = ipaddress.ip_address(source).version
    body = ports[0].to_bytes(2, "big") + ports[1].to_bytes(2, "big") + bytes([0, 8, 0, 0])
    if version == 6:
        head = bytes([0x60, 0, 0, 0, 0, len(body), 17, 64])
        return f"{ALL6}{mac}86dd" + head.hex() + packed(source) + packed(EVERYBODY) + body.hex()
    head = bytes([0x45, 0, 0, 20 + len(body), 0, 0, 0, 0, 64, 17])
    ends = bytes.fromhex(packed(source) + packed(to))
    return f"{ALL}{mac}0800" + (head + checksum(head + b"\0\0" + ends).to_bytes(2, "big") + ends + body).hex()


def icmp6(source: str, message: str) -> str:
    """Return a frame with an ICMPv6 message; `message` without its checksum, which nobody reads here."""
    body = bytes.fromhex(message)
    head = bytes([0x60, 0, 0, 0, 0, len(body), 58, 255])
    return f"{ALL6}{MAC}86dd" + head.hex() + packed(source) + packed(EVERYBODY) + body.hex()


def advert(target: str, mac: str = MAC) -> str:
    """Return a neighbour advertisement (RFC 4861, 4.4)."""
    return f"88000000a0000000{packed(target)}0201{mac}"


def solicit(target: str, option: str = "") -> str:
    return f"8700000000000000{packed(target)}{option}"


ROUTER = "8600000040000708" + "00" * 8
FORGED = {
    "another MAC address": udp(WEB, mac="0200000000aa"),
    "another's address": udp(DB),
    "the router's address": udp(GATEWAY),
    "an address of nobody": udp(FREE),
    "a DHCP server": udp(WEB, ports=(67, 68)),
    "ARP of another's address": arp(DB),
    "ARP of the router's address": arp(GATEWAY, answer=True),
    "ARP with another's MAC address in it": arp(WEB, said=OTHER_MAC),
    "another's IPv6 address": udp(DB6),
    "another's link-local address": udp(LINK_LOCAL6_DB),
    "the router's IPv6 address": udp("fd00:1::1"),
    "an IPv6 address of elsewhere": udp("2001:db8::7"),
    "a DHCPv6 server": udp(LINK_LOCAL, ports=(547, 546)),
    "a router": icmp6(LINK_LOCAL, ROUTER),
    "a redirect": icmp6(LINK_LOCAL, "89" + "00" * 39),
    "another's neighbour advertisement": icmp6(LINK_LOCAL, advert(DB6)),
    "a neighbour advertisement with another's MAC address": icmp6(LINK_LOCAL, advert(WEB6, OTHER_MAC)),
    "a claim of another's address": icmp6("::", solicit(DB6)),
    "a solicitation with another's MAC address": icmp6(LINK_LOCAL, solicit(DB6, f"0101{OTHER_MAC}")),
    "frames of spanning tree": f"0180c2000000{MAC}00264242030000000000" + "00" * 35,
    "a VLAN tag": f"{ALL}{MAC}81000005" + udp(WEB)[24:],
    "LLDP": f"{ALL}{MAC}88cc" + "00" * 46,
    "an unknown protocol": f"{ALL}{MAC}88b6" + "00" * 46,
}
TRUE = {
    "its own address": udp(WEB),
    "a DHCP client": udp("0.0.0.0", ports=(68, 67)),
    "ARP of its own address": arp(WEB),
    "ARP of an address that it would like": arp("0.0.0.0"),
    "its own IPv6 address": udp(WEB6),
    "its own link-local address": udp(LINK_LOCAL),
    "a DHCPv6 client": udp(LINK_LOCAL, ports=(546, 547)),
    "its own neighbour advertisement": icmp6(LINK_LOCAL, advert(WEB6)),
    "a claim of its own address": icmp6("::", solicit(WEB6)),
    "a solicitation": icmp6(LINK_LOCAL, solicit(DB6, f"0101{MAC}")),
    "a question for routers": icmp6(LINK_LOCAL, "8500000000000000"),
}


def send(app: Host, frame: str) -> None:
    app.run([sys.executable, "-SE", PROBE, "frame", "eth0", frame])


@pytest.fixture(scope="module")
def stranger(shared: RulesRig) -> Iterator[Host]:
    """Somebody on a port that is no app's, which an administrator made: nothing of it is checked."""
    made = shared.attach("stranger")
    shared.inside("ip link set p-stranger master br0 up")
    shared.web.sh("ip link set eth0 arp off")  # so that it says nothing by itself
    yield made
    shared.web.sh("ip link set eth0 arp on")


@pytest.mark.parametrize("what", TRUE)
def test_what_is_an_apps_to_send_arrives(shared: RulesRig, what: str) -> None:
    before = shared.spoofed("web")
    with Capture(shared.db, "eth0", SEEN) as seen:
        send(shared.web, TRUE[what])
    assert len(seen.packets) == 1
    assert shared.spoofed("web") == before


@pytest.mark.parametrize("what", FORGED)
def test_what_is_not_is_dropped_and_counted(shared: RulesRig, stranger: Host, what: str) -> None:
    """The same frame by a port that nobody checks is seen; by the app's it isn't, and a true one after it is."""
    frame, before = FORGED[what], shared.spoofed("web")
    with Capture(shared.db, "eth0", SEEN) as seen:
        send(stranger, frame)
        send(shared.web, frame)
        wait_until(lambda: shared.spoofed("web") == before + 1)
        send(shared.web, TRUE["its own address"])
    assert len(seen.packets) == 2
    assert shared.spoofed("web") == before + 1


def test_addresses_of_a_prefix_are_first_come_first_served(shared: RulesRig) -> None:
    with Capture(shared.db, "eth0", SEEN) as seen:
        send(shared.web, udp(FREE6))
    assert len(seen.packets) == 1
    before = shared.spoofed("db")
    send(shared.db, udp(FREE6, mac=OTHER_MAC))
    wait_until(lambda: shared.spoofed("db") == before + 1)
    send(shared.db, udp("fd00:1::201", mac=OTHER_MAC))
    before = shared.spoofed("web")
    send(shared.web, udp(FREE6))
    send(shared.web, udp("fd00:1::201"))
    wait_until(lambda: shared.spoofed("web") == before + 1)


def test_an_app_takes_no_more_addresses_than_it_may(shared: RulesRig) -> None:
    for number in range(30):
        send(shared.web, udp(f"fd00:1::300:{number:x}"))
    listed = shared.inside("nft list set bridge nsvisor seen6-web")
    assert listed.count("expires") == 16
    assert shared.spoofed("web") >= 30 - 16
    assert listed.count("0xfd000001") == 16


def test_an_address_of_dhcp_is_its_first_users(shared: RulesRig) -> None:
    """An app whose address isn't planned takes one of the subnet, and nobody's."""
    roaming = NamespaceApp(name="roaming", mac=MacAddress.parse("02:00:00:00:00:82"), address=None, ifname="p-roaming")
    app = shared.attach("roaming", "02:00:00:00:00:82")
    shared.publish(apps=(*shared.apps(None, None), roaming))
    shared.wait_ready()
    lease = app.dhcp()
    app.sh("ping -c 1 -W 30 10.1.0.1")
    assert lease["ip"] in shared.inside("nft list set bridge nsvisor seen4-roaming")
    app.sh("ip addr add fd00:1::77/64 dev eth0 nodad; ping -c 1 -W 30 -I fd00:1::77 fd00:1::1")
    assert "0xfd000001000000000000000000000077" in shared.inside("nft list set bridge nsvisor seen6-roaming")
    shared.publish(apps=(*shared.apps(None, rules('{"name": "all"}')), roaming))  # the table is made anew around it
    shared.wait_ready()
    assert "0xfd000001000000000000000000000077" in shared.inside("nft list set bridge nsvisor seen6-roaming")
    before = shared.spoofed("roaming")
    for frame in (udp(DB, mac="020000000082"), udp(GATEWAY, mac="020000000082"), udp("192.0.2.7", mac="020000000082")):
        send(app, frame)
    wait_until(lambda: shared.spoofed("roaming") == before + 3)
    shared.publish(apps=shared.apps(None, None))
    shared.wait_ready()
    assert msgspec.structs.asdict(shared.config)["apps"]
