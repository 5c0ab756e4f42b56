"""WireGuard's generic netlink: what a link has, and what it is to have. See linux/wireguard.h."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from nsmanager.netlink import ATTRIBUTE, Netlink, attribute, attributes, nested, number, text, u32

NETLINK_GENERIC = 16
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 16, 3, 1, 2
GENERIC = struct.Struct("=BBH")  # command, version, reserved
FAMILY, VERSION = "wireguard", 1
WG_CMD_GET_DEVICE, WG_CMD_SET_DEVICE = 0, 1
WGDEVICE_A_IFNAME, WGDEVICE_A_PRIVATE_KEY, WGDEVICE_A_PUBLIC_KEY = 2, 3, 4
WGDEVICE_A_LISTEN_PORT, WGDEVICE_A_FWMARK, WGDEVICE_A_PEERS = 6, 7, 8
WGPEER_A_PUBLIC_KEY, WGPEER_A_PRESHARED_KEY, WGPEER_A_FLAGS, WGPEER_A_ENDPOINT = 1, 2, 3, 4
WGPEER_A_KEEPALIVE, WGPEER_A_LAST_HANDSHAKE, WGPEER_A_RX_BYTES, WGPEER_A_TX_BYTES, WGPEER_A_ALLOWEDIPS = 5, 6, 7, 8, 9
WGPEER_F_REMOVE_ME, WGPEER_F_REPLACE_ALLOWEDIPS = 1, 2
WGALLOWEDIP_A_FAMILY, WGALLOWEDIP_A_IPADDR, WGALLOWEDIP_A_CIDR_MASK = 1, 2, 3
NO_KEY = bytes(32)  # of a peer without a shared secret
TIME = struct.Struct("=qq")  # seconds since the epoch, nanoseconds
NETWORKS_AT_ONCE = 500  # allowed IPs of one message: an attribute holds 64 KiB

Networks = frozenset[IPv4Network | IPv6Network]


@dataclasses.dataclass(frozen=True)
class PeerState:
    """A peer as the kernel has it."""

    public_key: bytes
    shared: bytes = dataclasses.field(default=NO_KEY, repr=False)
    address: IPv4Address | IPv6Address | None = None
    port: int = 0
    keepalive: int = 0  # seconds; 0: none
    allowed: Networks = frozenset()
    handshake: float = 0.0  # seconds since the epoch; 0: none yet
    received: int = 0  # bytes
    sent: int = 0


@dataclasses.dataclass(frozen=True)
class DeviceState:
    """A link as the kernel has it."""

    private: bytes = dataclasses.field(default=NO_KEY, repr=False)
    public_key: bytes = NO_KEY
    port: int = 0
    mark: int = 0
    peers: tuple[PeerState, ...] = ()


@dataclasses.dataclass(frozen=True)
class PeerChange:
    """What to tell the kernel of one peer. None: as it is."""

    public_key: bytes
    shared: bytes | None = dataclasses.field(default=None, repr=False)
    endpoint: tuple[IPv4Address | IPv6Address, int] | None = None
    keepalive: int | None = None
    allowed: Networks = frozenset()  # beside those that it has
    only: bool = False  # it loses all other networks
    remove: bool = False


def read(ifname: str) -> DeviceState | None:
    """Return what a link has; None when it isn't there. Raises OSError."""
    with contextlib.closing(Netlink(NETLINK_GENERIC)) as generic:
        try:
            body = GENERIC.pack(WG_CMD_GET_DEVICE, VERSION, 0) + text(WGDEVICE_A_IFNAME, ifname)
            return _device(generic.dump(_family(generic), body))
        except OSError as exc:
            if exc.errno == errno.ENODEV:
                return None
            raise


def write(
    ifname: str, changes: Sequence[PeerChange], *, private: bytes | None = None, port: int | None = None,
    mark: int | None = None,
) -> None:  # fmt: skip
    """Tell a link what to be like; peers that aren't named stay as they are. Raises OSError."""
    with contextlib.closing(Netlink(NETLINK_GENERIC)) as generic:
        family = _family(generic)
        fields = attribute(WGDEVICE_A_PRIVATE_KEY, private) if private is not None else b""
        fields += attribute(WGDEVICE_A_LISTEN_PORT, struct.pack("=H", port)) if port is not None else b""
        fields += u32(WGDEVICE_A_FWMARK, mark) if mark is not None else b""
        head = GENERIC.pack(WG_CMD_SET_DEVICE, VERSION, 0) + text(WGDEVICE_A_IFNAME, ifname)
        if fields:
            generic.request(family, 0, head + fields)
        for peer in (part for change in changes for part in _encode(change)):
            generic.request(family, 0, head + nested(WGDEVICE_A_PEERS, nested(0, peer)))


def _family(generic: Netlink) -> int:
    """Return the number that this kernel gave to WireGuard. Raises FileNotFoundError."""
    body = GENERIC.pack(CTRL_CMD_GETFAMILY, 1, 0) + text(CTRL_ATTR_FAMILY_NAME, FAMILY)
    return number(attributes(generic.ask(GENL_ID_CTRL, body), GENERIC.size)[CTRL_ATTR_FAMILY_ID])


def _encode(change: PeerChange) -> Iterator[bytes]:
    """Yield the attributes of a peer, in parts: it may have more networks than one message holds."""
    key = attribute(WGPEER_A_PUBLIC_KEY, change.public_key)
    flags = WGPEER_F_REMOVE_ME * change.remove | WGPEER_F_REPLACE_ALLOWEDIPS * change.only
    first = key + u32(WGPEER_A_FLAGS, flags)
    if change.shared is not None:
        first += attribute(WGPEER_A_PRESHARED_KEY, change.shared)
    if change.endpoint is not None:
        first += attribute(WGPEER_A_ENDPOINT, _sockaddr(*change.endpoint))
    if change.keepalive is not None:
        first += attribute(WGPEER_A_KEEPALIVE, struct.pack("=H", change.keepalive))
    networks = sorted(change.allowed, key=str)
    for start in range(0, max(1, len(networks)), NETWORKS_AT_ONCE):
        some = networks[start : start + NETWORKS_AT_ONCE]
        yield (key if start else first) + (nested(WGPEER_A_ALLOWEDIPS, *map(_allowed, some)) if some else b"")


def _allowed(network: IPv4Network | IPv6Network) -> bytes:
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    return nested(
        0,
        attribute(WGALLOWEDIP_A_FAMILY, struct.pack("=H", family)),
        attribute(WGALLOWEDIP_A_IPADDR, network.network_address.packed),
        attribute(WGALLOWEDIP_A_CIDR_MASK, bytes([network.prefixlen])),
    )


def _sockaddr(address: IPv4Address | IPv6Address, port: int) -> bytes:
    if address.version == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + address.packed + bytes(8)
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + address.packed + bytes(4)


def _device(messages: Iterable[bytes]) -> DeviceState:
    """Read the messages of a dump. A peer whose networks don't fit goes on in the next one."""
    device = DeviceState()
    peers: dict[bytes, PeerState] = {}
    for message in messages:
        found = attributes(message, GENERIC.size)
        if WGDEVICE_A_LISTEN_PORT in found:  # in the first message only
            device = DeviceState(
                found.get(WGDEVICE_A_PRIVATE_KEY, NO_KEY),
                found.get(WGDEVICE_A_PUBLIC_KEY, NO_KEY),
                number(found[WGDEVICE_A_LISTEN_PORT]),
                number(found.get(WGDEVICE_A_FWMARK)),
            )
        for one in _each(found.get(WGDEVICE_A_PEERS, b"")):
            peer = _peer(attributes(one, 0))
            before = peers.get(peer.public_key)
            if before is not None:
                peer = dataclasses.replace(before, allowed=before.allowed | peer.allowed)
            peers[peer.public_key] = peer
    return dataclasses.replace(device, peers=tuple(peers.values()))


def _peer(found: dict[int, bytes]) -> PeerState:
    address, port = None, 0
    if len(endpoint := found.get(WGPEER_A_ENDPOINT, b"")) >= 16:
        port = int.from_bytes(endpoint[2:4], "big")
        address = ipaddress.ip_address(endpoint[4:8] if number(endpoint[:2]) == socket.AF_INET else endpoint[8:24])
    seconds, nanoseconds = TIME.unpack(found.get(WGPEER_A_LAST_HANDSHAKE) or bytes(TIME.size))
    return PeerState(
        found[WGPEER_A_PUBLIC_KEY],
        found.get(WGPEER_A_PRESHARED_KEY, NO_KEY),
        address,
        port,
        number(found.get(WGPEER_A_KEEPALIVE)),
        frozenset(_network(attributes(one, 0)) for one in _each(found.get(WGPEER_A_ALLOWEDIPS, b""))),
        seconds + nanoseconds / 1e9,
        number(found.get(WGPEER_A_RX_BYTES)),
        number(found.get(WGPEER_A_TX_BYTES)),
    )


def _network(found: dict[int, bytes]) -> IPv4Network | IPv6Network:
    return ipaddress.ip_network((found[WGALLOWEDIP_A_IPADDR], number(found[WGALLOWEDIP_A_CIDR_MASK])))


def _each(array: bytes) -> Iterator[bytes]:
    """Yield the content of each attribute of an array: they all have one type."""
    offset = 0
    while offset + ATTRIBUTE.size <= len(array):
        length, _ = ATTRIBUTE.unpack_from(array, offset)
        if length < ATTRIBUTE.size:
            return
        yield array[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
