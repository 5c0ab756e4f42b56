"""The rtnetlink requests that ip(8) can't be made to send."""

from __future__ import annotations

import os
import socket
import struct

NLMSG_ERROR = 2
RTM_NEWLINK, RTM_GETLINK = 16, 18
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x200, 0x400
IFLA_IFNAME, IFLA_LINK, IFLA_LINKINFO, IFLA_LINK_NETNSID, IFLA_TARGET_NETNSID = 3, 5, 18, 37, 46
IFLA_NET_NS_PID = 19
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1


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


def new_veth(ifname: str, peer: str, attributes: bytes) -> None:
    """Make a veth; the attributes are its peer's. A newer ip(8) asks /proc about a pid before it asks the kernel."""
    other = bytes(16) + attribute(IFLA_IFNAME, peer.encode() + b"\0") + attributes
    data = attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, other))
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth") + data)
    name = attribute(IFLA_IFNAME, ifname.encode() + b"\0")
    request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, name + info)


def move_link(ifindex: int, pid: int) -> None:
    request(RTM_NEWLINK, NLM_F_ACK, number(IFLA_NET_NS_PID, pid), ifindex)


def get_link(ifindex: int, attributes: bytes) -> None:
    request(RTM_GETLINK, 0, attributes, ifindex)
