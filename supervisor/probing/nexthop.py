"""Asks a gateway whether it is there: ARP (RFC 826), and neighbour discovery (RFC 4861).

The kernel's own neighbour entries are neither asked nor changed: an entry outlives its gateway by up to a minute.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

from supervisor.probing.echo import ICMP6_FILTER, only
from supervisor.probing.probes import Probe
from supervisor.probing.sockets import read_until

ETH_P_ARP = 0x0806
ETHERNET = struct.Struct("!6s6sH")  # to, from, type
ARP = struct.Struct("!HHBBH6s4s6s4s")  # hardware, protocol, their lengths, operation, sender's MAC and IP, target's
ARPHRD_ETHER = 1
ETH_P_IP = 0x0800
REQUEST, REPLY = 1, 2
BROADCAST = b"\xff" * 6

NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
SOLICITATION = struct.Struct("!BBHI16sBB6s")  # type, code, checksum, reserved, target; option: type, length in 8s, MAC
SOURCE_LINK_LAYER_ADDRESS = 1
SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))  # + the last 24 bits of the address
HOPS = 255  # a packet with fewer has passed a router, and is not from the link


async def arp(probe: Probe, deadline: float) -> None:
    """Return when the gateway told its MAC address to ours. Raises OSError, TimeoutError with words."""
    if not probe.way.sources:
        raise OSError(f"{probe.way.ifname} has no IPv4 address")
    mac, own = bytes.fromhex(probe.way.mac.replace(":", "")), probe.way.sources[0]
    frame = ETHERNET.pack(BROADCAST, mac, ETH_P_ARP)
    frame += ARP.pack(ARPHRD_ETHER, ETH_P_IP, 6, 4, REQUEST, mac, own.packed, bytes(6), probe.address.packed)
    # Without a protocol at first: else it would hear all links until it is bound to its own.
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0) as sock:
        sock.bind((probe.way.ifname, ETH_P_ARP))
        sock.send(frame)
        await read_until(sock, deadline, "no ARP reply", lambda: is_reply(sock.recv(128), probe.address.packed, mac))


def is_reply(frame: bytes, gateway: bytes, mac: bytes) -> bool:
    """Tell whether a frame is a gateway's ARP reply to that MAC address."""
    if len(frame) < ETHERNET.size + ARP.size:
        return False
    *_, operation, _, sender, target_mac, _ = ARP.unpack_from(frame, ETHERNET.size)
    return bool(operation == REPLY and sender == gateway and target_mac == mac)


async def solicit(probe: Probe, deadline: float) -> None:
    """Return when the gateway advertised itself. Raises OSError, TimeoutError with words.

    Without a mark: the packet is for the link, and the route to its multicast group is the host's.
    """
    mac, target, index = bytes.fromhex(probe.way.mac.replace(":", "")), probe.address.packed, probe.way.ifindex
    group = IPv6Address(SOLICITED_NODE | int(probe.address) & 0xFFFFFF)
    packet = SOLICITATION.pack(NEIGHBOUR_SOLICITATION, 0, 0, 0, target, SOURCE_LINK_LAYER_ADDRESS, 1, mac)
    raw = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_INET6, raw, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, only(NEIGHBOUR_ADVERTISEMENT))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, probe.way.ifname.encode())
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOPS)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.sendto(packet, (str(group), 0, 0, index))
        await read_until(sock, deadline, "no neighbour advertisement", lambda: is_advertisement(sock, target))


def is_advertisement(sock: socket.socket, target: bytes) -> bool:
    """Read one packet, and tell whether it is an advertisement of that address from the link itself."""
    packet, ancillary, _, _ = sock.recvmsg(2048, socket.CMSG_SPACE(4))
    hops = [data for level, kind, data in ancillary if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)]
    return (
        packet[:2] == bytes((NEIGHBOUR_ADVERTISEMENT, 0))
        and packet[8:24] == target
        and hops == [struct.pack("i", HOPS)]
    )
