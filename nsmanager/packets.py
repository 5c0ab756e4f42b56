"""The headers of a captured packet, from the IP header on. See RFC 791, 8200, 9293, 768. Pure."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import msgspec

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmpv6"}
EXTENSIONS = (0, 43, 60)  # of IPv6, with a length in units of 8 bytes: hop-by-hop, routing, destination options
FRAGMENT = 44
LONGEST_CHAIN = 8  # extension headers of a packet that is worth reading
FIN, SYN, RST, ACK = 1, 2, 4, 16


class Packet(msgspec.Struct, frozen=True):
    """What the headers say; ports are 0 where there are none, or in a fragment that isn't the first."""

    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    protocol: int
    length: int  # bytes with the IP header, whether captured or not
    source_port: int = 0
    destination_port: int = 0
    sequence: int = 0  # of TCP
    flags: int = 0  # of TCP
    data: bytes = b""  # of UDP or TCP, as far as captured


def protocol_name(protocol: int) -> str:
    """Return how a flow's record writes a protocol."""
    return NAMES.get(protocol, str(protocol))


def parse(raw: bytes) -> Packet | None:
    """Return the packet; None for what is no IP or too short to tell."""
    if not raw:
        return None
    try:
        if raw[0] >> 4 == 4:
            return _parse4(raw)
        return _parse6(raw) if raw[0] >> 4 == 6 else None
    except (struct.error, IndexError, ValueError):
        return None


def _parse4(raw: bytes) -> Packet:
    length = struct.unpack_from("!H", raw, 2)[0] or len(raw)  # 0: segments that the kernel sends as one
    (fragment,) = struct.unpack_from("!H", raw, 6)
    ends = IPv4Address(raw[12:16]), IPv4Address(raw[16:20])
    offset = (raw[0] & 0xF) * 4
    if fragment & 0x1FFF:
        return Packet(*ends, raw[9], length)
    return _transport(raw[:length], offset, *ends, raw[9], length)


def _parse6(raw: bytes) -> Packet:
    payload = struct.unpack_from("!H", raw, 4)[0] or len(raw) - 40
    ends = IPv6Address(raw[8:24]), IPv6Address(raw[24:40])
    length, protocol, offset = 40 + payload, raw[6], 40
    for _ in range(LONGEST_CHAIN):
        if protocol in EXTENSIONS:
            protocol, offset = raw[offset], offset + (raw[offset + 1] + 1) * 8
        elif protocol == FRAGMENT:
            protocol, (place,) = raw[offset], struct.unpack_from("!H", raw, offset + 2)
            offset += 8
            if place & 0xFFF8:
                return Packet(*ends, protocol, length)
        else:
            break
    return _transport(raw[:length], offset, *ends, protocol, length)


def _transport(  # noqa: PLR0917  # of one kind each
    raw: bytes, offset: int, source: IPv4Address | IPv6Address, destination: IPv4Address | IPv6Address,
    protocol: int, length: int,
) -> Packet:  # fmt: skip
    """Return the packet with what the header of TCP or UDP says, as far as it is there."""
    if protocol not in (TCP, UDP) or len(raw) < offset + 8:
        return Packet(source, destination, protocol, length)
    from_port, to_port = struct.unpack_from("!HH", raw, offset)
    if protocol == UDP:
        return Packet(source, destination, protocol, length, from_port, to_port, data=raw[offset + 8 :])
    if len(raw) < offset + 14:
        return Packet(source, destination, protocol, length, from_port, to_port)
    (sequence,) = struct.unpack_from("!L", raw, offset + 4)
    begin = offset + (raw[offset + 12] >> 4) * 4
    return Packet(source, destination, protocol, length, from_port, to_port, sequence, raw[offset + 13], raw[begin:])
