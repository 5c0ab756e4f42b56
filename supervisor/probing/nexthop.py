"""Asks a gateway whether it is there: ARP (RFC 826), and neighbour discovery (RFC 4861).

The kernel's own neighbour entries are neither asked nor changed: an entry outlives its gateway by up to a minute.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

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
DRAINED = 256  # packets at most, dropped before a try
Line = tuple[str, int, IPv4Address | IPv6Address]  # ifname, ifindex, gateway

NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
SOLICITATION = struct.Struct("!BBHI16sBB6s")  # type, code, checksum, reserved, target; option: type, length in 8s, MAC
SOURCE_LINK_LAYER_ADDRESS = 1
SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))  # + the last 24 bits of the address
HOPS = 255  # a packet with fewer has passed a router, and is not from the link


# Classic BPF (linux/filter.h), instructions of code, jump if true, jump if false, k: pass ARP replies of one sender.
INSTRUCTION = struct.Struct("=HBBI")
SO_ATTACH_FILTER = 26  # asm-generic/socket.h
OPERATION_OFFSET, SENDER_OFFSET = ETHERNET.size + 6, ETHERNET.size + 14


class Arp:
    """Asks by ARP. A gateway's socket stays open between two tries.

    Closing a packet socket stops the caller for 13 ms: the kernel waits until no CPU can use it (packet_release), and
    here the whole daemon would wait. Meanwhile a filter keeps what others say out of it.
    """

    def __init__(self) -> None:
        self._sockets: dict[Line, socket.socket] = {}

    async def ask(self, probe: Probe, deadline: float) -> None:
        """Return when the gateway told its MAC address to ours. Raises OSError, TimeoutError with words."""
        if not probe.way.sources:
            raise OSError(f"{probe.way.ifname} has no IPv4 address")
        mac, own = mac_bytes(probe), probe.way.sources[0]
        frame = ETHERNET.pack(BROADCAST, mac, ETH_P_ARP)
        frame += ARP.pack(ARPHRD_ETHER, ETH_P_IP, 6, 4, REQUEST, mac, own.packed, bytes(6), probe.address.packed)
        sock = self._socket(probe)
        try:
            sock.send(frame)
            await read_until(
                sock, deadline, "no ARP reply", lambda: is_reply(sock.recv(128), probe.address.packed, mac)
            )
        except OSError as exc:
            if exc.errno in (errno.ENODEV, errno.ENXIO):  # the link is gone for good
                self._sockets.pop(line(probe)).close()
            raise

    def _socket(self, probe: Probe) -> socket.socket:
        """Return the socket for that gateway, without what came since the last try."""
        known = self._sockets.get(line(probe))
        if known:
            drain(known)
            return known
        # Without a protocol at first: else it would hear all links until it is bound to its own.
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0))
            attach_filter(sock, probe.address.packed)
            sock.bind((probe.way.ifname, ETH_P_ARP))
            stack.pop_all()
        self._sockets[line(probe)] = sock
        return sock

    def keep(self, probes: Iterable[Probe]) -> None:
        """Close all sockets but those of these probes."""
        for unused in self._sockets.keys() - {line(probe) for probe in probes}:
            self._sockets.pop(unused).close()


def line(probe: Probe) -> Line:
    return probe.way.ifname, probe.way.ifindex, probe.address


def drain(sock: socket.socket) -> None:
    """Drop what lies in a socket, also an error: that the link was down once is no news."""
    for _ in range(DRAINED):
        try:
            sock.recv(1)
        except BlockingIOError:
            return
        except OSError:
            continue


def attach_filter(sock: socket.socket, sender: bytes) -> None:
    """Have the kernel drop all but ARP replies of one sender."""
    program = (
        (0x28, 0, 0, OPERATION_OFFSET),  # load the half word
        (0x15, 0, 3, REPLY),  # equal, else to the last
        (0x20, 0, 0, SENDER_OFFSET),  # load the word
        (0x15, 0, 1, int.from_bytes(sender, "big")),
        (0x06, 0, 0, 0xFFFFFFFF),  # pass it whole
        (0x06, 0, 0, 0),  # drop it
    )
    code = ctypes.create_string_buffer(b"".join(INSTRUCTION.pack(*instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))


def mac_bytes(probe: Probe) -> bytes:
    return bytes.fromhex(probe.way.mac.replace(":", ""))


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
    mac, target, index = mac_bytes(probe), probe.address.packed, probe.way.ifindex
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
