"""The rtnetlink requests that ip(8) can't be made to send."""

from __future__ import annotations

import os
import socket
import struct

NLMSG_ERROR = 2
RTM_NEWLINK, RTM_GETLINK = 16, 18
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x200, 0x400
IFLA_IFNAME, IFLA_LINK, IFLA_LINKINFO, IFLA_LINK_NETNSID, IFLA_TARGET_NETNSID = 3, 5, 18, 37, 46
IFLA_INFO_KIND = 1


def attribute(number: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("HH", length, number) + value + b"\0" * (-length % 4)


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("i", value))


def request(kind: int, flags: int, attributes: bytes, ifindex: int = 0) -> None:
    """Send one link request and wait for the answer. Raises OSError with the kernel's errno."""
    body = struct.pack("BxHiII", socket.AF_UNSPEC, 0, ifindex, 0, 0) + attributes
    header = struct.pack("IHHII", 16 + len(body), kind, NLM_F_REQUEST | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.send(header + body)
        answer = sock.recv(65536)
    if struct.unpack_from("H", answer, 4)[0] == NLMSG_ERROR:
        (error,) = struct.unpack_from("i", answer, 16)
        if error:
            raise OSError(-error, os.strerror(-error))


def new_link(ifname: str, kind: str, attributes: bytes) -> None:
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, kind.encode()))
    name = attribute(IFLA_IFNAME, ifname.encode() + b"\0")
    request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, name + info + attributes)


def get_link(ifindex: int, attributes: bytes) -> None:
    request(RTM_GETLINK, 0, attributes, ifindex)
