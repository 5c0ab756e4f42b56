"""ICMP echo (RFC 792, RFC 4443) by one uplink.

By raw sockets: those for echo alone (icmp(7)) are forbidden to root, too, where ping_group_range has its default.
"""

from __future__ import annotations

import os
import socket
import struct

from supervisor.probing.probes import Probe
from supervisor.probing.sockets import open_bound, peer, read_until

SOL_RAW = 255  # linux/socket.h
ICMP_FILTER = 1  # linux/icmp.h: a bit for each type that is not wanted
ICMP6_FILTER = 1  # linux/icmpv6.h: the same in eight words
ECHO_REQUEST, ECHO_REPLY = 8, 0
ECHO_REQUEST6, ECHO_REPLY6 = 128, 129
HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence
TOKEN_LENGTH = 16  # bytes of the payload, by which an answer is known as ours


async def echo(probe: Probe, deadline: float) -> None:
    """Return when the echo came back. Raises OSError, TimeoutError with words."""
    v4 = probe.address.version == 4
    protocol = socket.IPPROTO_ICMP if v4 else socket.IPPROTO_ICMPV6
    token = os.urandom(TOKEN_LENGTH)
    with open_bound(probe, socket.SOCK_RAW, protocol) as sock:
        if v4:
            sock.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", ~(1 << ECHO_REPLY) & 0xFFFFFFFF))
        else:
            sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, only(ECHO_REPLY6))
        sock.connect(peer(probe))
        sock.send(request(token) if v4 else request6(token))
        await read_until(sock, deadline, "no echo reply", lambda: sock.recv(2048).endswith(token))


def request(token: bytes) -> bytes:
    """Return an ICMP echo request with its checksum. The identifier differs, for a NAT tells flows apart by it."""
    identifier = int.from_bytes(token[:2], "big")
    summed = checksum(HEADER.pack(ECHO_REQUEST, 0, 0, identifier, 1) + token)
    return HEADER.pack(ECHO_REQUEST, 0, summed, identifier, 1) + token


def request6(token: bytes) -> bytes:
    """Return an ICMPv6 echo request; the kernel puts in the checksum (RFC 3542, 3.1)."""
    return HEADER.pack(ECHO_REQUEST6, 0, 0, int.from_bytes(token[:2], "big"), 1) + token


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def only(kind: int) -> bytes:
    """Return the ICMP6_FILTER that lets one type pass."""
    words = [0xFFFFFFFF] * 8
    words[kind >> 5] &= ~(1 << (kind & 31))
    return struct.pack("8I", *words)
