"""An app hides what it sends: in fragments, behind extension headers, in tags and in protocols that nobody expects.

Each frame is seen to pass by a port that nobody checks, and then not by the app's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.attack.conftest import Tally
from tests.functional.rules.rig import DB, DB6, PROBE, WEB, WEB6, RulesRig
from tests.functional.rules.test_spoofing import (
    ALL,
    ALL6,
    EVERYBODY,
    LINK_LOCAL,
    MAC,
    OTHER_MAC,
    ROUTER,
    SEEN,
    TRUE,
    advert,
    arp,
    checksum,
    packed,
    udp,
)
from tests.hosts import Capture, Host, wait_until

HOP_BY_HOP, DESTINATION, FRAGMENT, UDP, ICMP6 = 0, 60, 44, 17, 58
DHCP6_SERVER = "02230222" + "0008" + "0000"  # a UDP header: from port 547 to 546
SERVER4 = udp(WEB, ports=(67, 68))[28:]  # an IPv4 packet without its Ethernet header
PACKET4 = udp(WEB)[28:]
REST = "00" * 16


def ipv6(source: str, next_header: int, body: str) -> str:
    """Return a frame to all nodes."""
    size = (len(body) // 2).to_bytes(2, "big").hex()
    return f"{ALL6}{MAC}86dd60000000{size}{next_header:02x}ff{packed(source)}{packed(EVERYBODY)}{body}"


def padding(next_header: int) -> str:
    """Return an extension header that says nothing (RFC 8200, 4.2)."""
    return f"{next_header:02x}00010400000000"


def fragment(next_header: int, offset: int, more: int, body: str) -> str:
    """Return a fragment header with what follows; `offset` in units of 8 bytes (RFC 8200, 4.5)."""
    return f"{next_header:02x}00{offset << 3 | more:04x}00000007{body}"


def ipv4(packet: str, *, options: str = "", offset: int = 0, more: int = 0) -> str:
    """Return a frame with this packet, with options and as a fragment; its checksum is put right."""
    head, body = bytearray.fromhex(packet[:40] + options), packet[40:]
    head[0] = 0x40 | len(head) // 4
    head[2:4] = (len(head) + len(body) // 2).to_bytes(2, "big")
    head[6:8] = (more << 13 | offset).to_bytes(2, "big")
    head[10:12] = bytes(2)
    head[10:12] = checksum(bytes(head)).to_bytes(2, "big")
    return f"{ALL}{MAC}0800{head.hex()}{body}"


def ethertype(number: int, body: str = PACKET4) -> str:
    return f"{ALL}{MAC}{number:04x}{body}{'00' * 20}"


HIDDEN = {
    "a router behind an extension header": ipv6(LINK_LOCAL, DESTINATION, padding(ICMP6) + ROUTER),
    "a router behind two": ipv6(LINK_LOCAL, DESTINATION, padding(DESTINATION) + padding(ICMP6) + ROUTER),
    "a router in a fragment that is all": ipv6(LINK_LOCAL, FRAGMENT, fragment(ICMP6, 0, 0, ROUTER)),
    "the begin of a router": ipv6(LINK_LOCAL, FRAGMENT, fragment(ICMP6, 0, 1, ROUTER[:16])),
    "the begin of who knows what": ipv6(LINK_LOCAL, FRAGMENT, fragment(DESTINATION, 0, 1, padding(ICMP6))),
    "the begin of a DHCPv6 server": ipv6(LINK_LOCAL, FRAGMENT, fragment(DESTINATION, 0, 1, padding(UDP))),
    "a DHCPv6 server behind an extension header": ipv6(LINK_LOCAL, HOP_BY_HOP, padding(UDP) + DHCP6_SERVER),
    "a DHCPv6 server's first fragment": ipv6(LINK_LOCAL, FRAGMENT, fragment(UDP, 0, 1, DHCP6_SERVER)),
    "the begin of another's advertisement": ipv6(LINK_LOCAL, FRAGMENT, fragment(ICMP6, 0, 1, advert(DB6)[:16])),
    "an advertisement in a fragment": ipv6(WEB6, FRAGMENT, fragment(ICMP6, 0, 0, advert(WEB6))),
    "another's MAC address behind an option": ipv6(
        LINK_LOCAL, ICMP6, advert(WEB6)[:48] + "0e01000000000000" + f"0201{OTHER_MAC}"
    ),
    "a later fragment of another's": ipv6(DB6, FRAGMENT, fragment(UDP, 9, 0, REST)),
    "a DHCP server with IP options": ipv4(SERVER4, options="01010101"),
    "a DHCP server's first fragment": ipv4(SERVER4, more=1),
    "a later fragment of another's by IPv4": ipv4(udp(DB)[28:], offset=9),
}
TAGGED = {
    "a priority tag": ethertype(0x8100, "0000" + "0800" + PACKET4),
    "a VLAN": ethertype(0x8100, "0007" + "0800" + PACKET4),
    "a VLAN of providers": ethertype(0x88A8, "0007" + "0800" + PACKET4),
    "two VLANs": ethertype(0x88A8, "0007" + "8100" + "0007" + "0800" + PACKET4),
    "PPPoE's discovery": ethertype(0x8863, "11090000" + "0004" + "01010000"),
    "PPPoE": ethertype(0x8864, "11000001" + "001e" + "0021" + PACKET4),
    "MPLS": ethertype(0x8847, "000001ff" + PACKET4),
    "802.1X": ethertype(0x888E, "02010000"),
    "MACsec": ethertype(0x88E5),
    "RARP": ethertype(0x8035, arp(WEB)[28:]),
    "IP in LLC and SNAP": ethertype(8 + len(PACKET4) // 2, "aaaa03" + "000000" + "0800" + PACKET4),
    "a frame of LLC": ethertype(3, "424203"),
    "ARP about another kind of address": arp(WEB).replace("08060001080006", "0806000186dd06"),
    "ARP with long hardware addresses": arp(WEB).replace("080600010800060400", "080600010800080400"),
    "ARP of another network's kind": arp(WEB).replace("08060001", "08060006"),
}


@pytest.fixture(scope="module")
def rig() -> Iterator[RulesRig]:
    with RulesRig() as made:
        made.begin(None)
        yield made


@pytest.fixture(scope="module")
def stranger(rig: RulesRig) -> Host:
    """Somebody on a port that is no app's: nothing of it is checked."""
    made = rig.attach("stranger")
    rig.inside("ip link set p-stranger master br0 up")
    rig.web.sh("ip link set eth0 arp off")  # so that it says nothing by itself
    return made


def send(app: Host, *frames: str) -> None:
    for frame in frames:
        app.run([sys.executable, "-SE", PROBE, "frame", "eth0", frame])


@pytest.mark.parametrize("frames", [HIDDEN, TAGGED], ids=["hidden", "tagged"])
def test_what_is_hidden_passes_no_port(rig: RulesRig, stranger: Host, frames: dict[str, str], tally: Tally) -> None:
    tally(len(frames))
    for what, frame in frames.items():
        before = rig.spoofed("web")
        send(rig.web, frame)
        wait_until(lambda: rig.spoofed("web") == before + 1, timeout=20, what=what)  # noqa: B023
    with Capture(rig.db, "eth0", SEEN) as seen:
        send(stranger, *frames.values())
        send(rig.web, *frames.values(), TRUE["its own address"])
    assert len(seen.packets) == len(frames) + 1, "\n".join(seen.packets)


def test_fragments_that_hide_nothing_pass(rig: RulesRig, stranger: Host) -> None:
    frames = [
        ipv4(PACKET4, more=1),
        ipv4(PACKET4, offset=1),
        ipv6(WEB6, FRAGMENT, fragment(UDP, 0, 1, "03e803e900080000" + REST)),
        ipv6(WEB6, FRAGMENT, fragment(UDP, 3, 0, REST)),
    ]
    assert stranger
    before = rig.spoofed("web")
    with Capture(rig.db, "eth0", SEEN) as seen:
        send(rig.web, *frames)
    assert (len(seen.packets), rig.spoofed("web")) == (len(frames), before), seen.packets
