"""WireGuard as values: what a namespace with it holds, what the kernel is told, and what its answers mean."""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import msgspec
import pytest

from nsmanager.firewall import sealed
from nsmanager.items.nftables import NftTable
from nsmanager.items.wireguard import PORT, FoundWireguard, Wireguard, clamped
from nsmanager.netlink import attribute, nested, u32
from nsmanager.plan import plan
from nsmanager.vpn.handshakes import ANSWER, VALID, Peers
from nsmanager.vpn.routing import tunnel_mtu
from nsmanager.vpn.wireguard import (
    GENERIC,
    NETWORKS_AT_ONCE,
    NO_KEY,
    TIME,
    WGDEVICE_A_FWMARK,
    WGDEVICE_A_LISTEN_PORT,
    WGDEVICE_A_PEERS,
    WGDEVICE_A_PUBLIC_KEY,
    WGPEER_A_LAST_HANDSHAKE,
    WGPEER_A_RX_BYTES,
    DeviceState,
    PeerChange,
    PeerState,
    _device,
    _encode,
)
from pubsub.topics import InstanceType, NamespacePeer, NamespaceWireguard
from pubsub.values import Duration, IpAddress, Network, WireguardKey
from tests.unit.nsmanager.test_plan import PLACE, SMALL, SMALL6
from tests.unit.nsmanager.test_vpn import TUNNEL

KEYS = [bytes([number]) * 32 for number in range(1, 6)]
CLOUD = NamespacePeer(
    name="cloud",
    public_key=WireguardKey(KEYS[0]),
    remote=IpAddress.parse("203.0.113.1"),
    port=51820,
    remote_subnets=(Network.parse("192.168.0.0/24"),),
    keepalive=Duration(25),
    shared_secret=True,
)
REST = NamespacePeer(
    name="rest",
    public_key=WireguardKey(KEYS[1]),
    remote=IpAddress.parse("2001:db8::1"),
    port=4433,
    remote_subnets=(Network.parse("0.0.0.0/0"), Network.parse("::/0")),
    keepalive=Duration(10),
)
ONE = msgspec.structs.replace(
    SMALL, type=InstanceType.VPN, wireguard=NamespaceWireguard(peers=(CLOUD,), secrets="1-2-3"), tunnel_mtu=1440
)
BOTH = msgspec.structs.replace(
    SMALL6,
    type=InstanceType.VPN,
    tunnels=(TUNNEL,),
    wireguard=NamespaceWireguard(peers=(REST,), secrets="1-2-3"),
    tunnel_mtu=1396,
)


def test_plans_of_wireguard(golden: Callable[[str, str], None]) -> None:
    for name, config in (("vpn-wireguard", ONE), ("vpn-both", BOTH)):
        items = [str(item) for item in plan(config, PLACE) if not isinstance(item, NftTable)]
        tables = "\n".join(str(item) for item in plan(config, PLACE) if isinstance(item, NftTable))
        ways = [line for line in tables.splitlines() if "wg0" in line]
        golden(name, "\n".join([*items, sealed.chains(config), *ways]))


def test_without_secrets_the_link_keeps_what_it_has() -> None:
    config = msgspec.structs.replace(ONE, wireguard=NamespaceWireguard(peers=(CLOUD,)))
    assert not [item for item in plan(config, PLACE) if isinstance(item, Wireguard)]
    assert [item for item in plan(config, PLACE) if str(item).startswith("ip link add wg0")]


def test_what_fits_through() -> None:
    four, six = IPv4Address("203.0.113.1"), IPv6Address("2001:db8::1")
    assert tunnel_mtu(1500, [], [four]) == 1440
    assert tunnel_mtu(1500, [], [four, six]) == 1420
    assert tunnel_mtu(1500, [four], [six]) == 1396


# --- what the kernel is told -----------------------------------------------------------------------------------------


def item() -> Wireguard:
    return next(one for one in plan(ONE, PLACE) if isinstance(one, Wireguard))


def found(state: DeviceState, **files: bytes | None) -> FoundWireguard:
    planned = item()
    known = {planned.secret: KEYS[3], planned.peers[0].secret: KEYS[4]}
    return FoundWireguard("wg0", state, known | {path.replace("_", "/"): key for path, key in files.items()})


AS_PLANNED = DeviceState(
    clamped(KEYS[3]),
    KEYS[2],
    PORT,
    0,
    (PeerState(KEYS[0], KEYS[4], IPv4Address("203.0.113.1"), 51820, 25, frozenset({IPv4Network("192.168.0.0/24")})),),
)


def with_peer(**changes: object) -> DeviceState:
    return dataclasses.replace(AS_PLANNED, peers=(dataclasses.replace(AS_PLANNED.peers[0], **changes),))  # type: ignore[arg-type]


def test_what_is_as_planned_is_left_alone() -> None:
    assert item().matches(found(AS_PLANNED))
    moved = with_peer(handshake=5.0, received=7, sent=9)
    assert item().matches(found(moved))


OTHERS = {
    "private key": (dataclasses.replace(AS_PLANNED, private=KEYS[0]), "private-key"),
    "port": (dataclasses.replace(AS_PLANNED, port=1), f"listen-port {PORT}"),
    "mark": (dataclasses.replace(AS_PLANNED, mark=1), "fwmark 0"),
    "no peer": (dataclasses.replace(AS_PLANNED, peers=()), "endpoint 203.0.113.1:51820"),
    "a stranger": (dataclasses.replace(AS_PLANNED, peers=(*AS_PLANNED.peers, PeerState(KEYS[1]))), "remove"),
    "secret": (with_peer(shared=NO_KEY), "preshared-key"),
    "endpoint": (with_peer(port=1), "endpoint 203.0.113.1:51820"),
    "keepalive": (with_peer(keepalive=0), "persistent-keepalive 25"),
    "too few networks": (with_peer(allowed=frozenset()), "allowed-ips 192.168.0.0/24"),
    "too many networks": (
        with_peer(allowed=AS_PLANNED.peers[0].allowed | {ipaddress.ip_network("0.0.0.0/0")}),
        "allowed-ips 192.168.0.0/24",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("state", "words"), OTHERS.values(), ids=OTHERS)
def test_what_was_changed_is_told_as_a_command(state: DeviceState, words: str) -> None:
    assert not item().matches(found(state))
    assert words in item().redo(found(state))


def test_only_what_differs_is_written() -> None:
    changes = [*item()._changes(found(with_peer(port=1)))]
    assert changes == [PeerChange(KEYS[0], endpoint=(IPv4Address("203.0.113.1"), 51820))]
    more = with_peer(allowed=AS_PLANNED.peers[0].allowed | {ipaddress.ip_network("10.0.0.0/8")})
    assert [(one.only, one.allowed) for one in item()._changes(found(more))] == [(True, AS_PLANNED.peers[0].allowed)]


def test_a_file_without_a_key_is_no_match() -> None:
    planned = item()
    broken = FoundWireguard("wg0", AS_PLANNED, {planned.secret: None, planned.peers[0].secret: KEYS[4]})
    assert not planned.matches(broken)
    without = FoundWireguard("wg0", with_peer(shared=NO_KEY), {planned.secret: KEYS[3], planned.peers[0].secret: None})
    assert not planned.matches(without)


def test_no_key_is_shown() -> None:
    for words in (repr(found(AS_PLANNED)), repr([*item()._changes(found(with_peer(shared=NO_KEY)))]), str(item())):
        for key in (KEYS[3], KEYS[4], clamped(KEYS[3])):
            assert repr(key) not in words
            assert base64.b64encode(key).decode() not in words


def answer(*peers: bytes, first: bool = True) -> bytes:
    head = GENERIC.pack(0, 1, 0)
    if first:
        head += attribute(WGDEVICE_A_LISTEN_PORT, struct.pack("=H", PORT)) + u32(WGDEVICE_A_FWMARK, 7)
        head += attribute(WGDEVICE_A_PUBLIC_KEY, KEYS[2])
    return head + nested(WGDEVICE_A_PEERS, *(nested(0, peer) for peer in peers))


def test_what_is_told_is_read_back() -> None:
    """The kernel answers by the same attributes as it is told."""
    networks = frozenset(map(ipaddress.ip_network, ["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"]))
    six = (IPv6Address("2001:db8::1"), 4433)
    [told] = _encode(PeerChange(KEYS[0], KEYS[4], six, 25, networks))
    told += attribute(WGPEER_A_LAST_HANDSHAKE, TIME.pack(100, 500_000_000))
    told += attribute(WGPEER_A_RX_BYTES, struct.pack("=Q", 1 << 40))
    [other] = _encode(PeerChange(KEYS[1], endpoint=(IPv4Address("203.0.113.1"), 51820)))
    device = _device([answer(told, other)])
    assert (device.port, device.mark, device.public_key, device.private) == (PORT, 7, KEYS[2], NO_KEY)
    assert device.peers[0] == PeerState(KEYS[0], KEYS[4], *six, 25, networks, 100.5, 1 << 40)
    assert device.peers[1] == PeerState(KEYS[1], address=IPv4Address("203.0.113.1"), port=51820)


def test_a_peer_with_many_networks_comes_and_goes_in_parts() -> None:
    networks = frozenset(ipaddress.ip_network((number << 8, 24)) for number in range(NETWORKS_AT_ONCE + 1))
    parts = [*_encode(PeerChange(KEYS[0], keepalive=25, allowed=networks, only=True))]
    assert len(parts) == 2
    assert all(len(part) < 65536 for part in parts)
    device = _device([answer(parts[0]), answer(parts[1], first=False)])
    assert [(peer.allowed, peer.keepalive) for peer in device.peers] == [(networks, 25)]


# --- what becomes of it ----------------------------------------------------------------------------------------------


def looks(*seen: tuple[float, PeerState | None]) -> list[tuple[bool, str]]:
    """Return what is told at each time, in seconds since the epoch as by the clock."""
    peers, told = Peers(), []
    for now, state in seen:
        device = dataclasses.replace(AS_PLANNED, peers=(state,) if state else ())
        [one] = peers.look(ONE, device, now=now, clock=now)
        told.append((one.up, one.reason))
    return told


def peer(handshake: float = 0.0, received: int = 0, sent: int = 0) -> PeerState:
    return dataclasses.replace(AS_PLANNED.peers[0], handshake=handshake, received=received, sent=sent)


def test_a_tunnel_is_up_while_its_keys_are_good() -> None:
    own = base64.b64encode(KEYS[2]).decode()
    first, up, late = looks((1000, peer()), (1001, peer(1000.5, 92, 148)), (1001 + VALID, peer(1000.5, 92, 148)))
    assert first == (False, f"203.0.113.1:51820 doesn't answer: it must know our public key {own}")
    assert up == (True, "")
    assert late == (False, "the peer doesn't answer")


def test_a_peer_that_owes_an_answer_is_down_until_it_speaks() -> None:
    live = (1000, peer(999, 92, 148))
    asked = (1010, peer(999, 92, 1000))
    assert looks(live, asked, (1011 + ANSWER, peer(999, 92, 2000)))[-1] == (False, "the peer doesn't answer")
    assert looks(live, asked, (1011 + ANSWER, peer(999, 93, 2000)))[-1] == (True, "")


def test_packets_that_nobody_answers_are_no_question() -> None:
    quiet = [(1000 + 25.0 * step, peer(999, 92, 148 + 32 * step)) for step in range(6)]
    assert {up for up, _ in looks(*quiet)} == {True}


def test_what_is_not_there_yet_is_being_set_up() -> None:
    assert looks((1000, None)) == [(False, "being set up")]
    [told] = Peers().look(ONE, None, now=0, clock=0)
    assert (told.reason, told.last_error, told.kind) == ("being set up", "", "wireguard")
    unreadable = msgspec.structs.replace(ONE, wireguard=NamespaceWireguard(peers=(CLOUD,)))
    assert Peers().look(unreadable, AS_PLANNED, now=0, clock=0)[0].reason == "its secrets can't be read"


def test_status_of_a_tunnel_that_is_up() -> None:
    peers = Peers()
    device = dataclasses.replace(AS_PLANNED, peers=(peer(990, 92, 148),))
    [told] = peers.look(ONE, device, now=1000, clock=0)
    assert (told.local, told.remote) == ("100.127.0.1:51820", "203.0.113.1:51820")
    assert (told.since, told.handshake, told.received_bytes, told.sent_bytes) == (990, 990, 92, 148)
    assert told.networks == ("192.0.2.0/24 === 192.168.0.0/24",)
    later = dataclasses.replace(AS_PLANNED, peers=(peer(1110, 192, 248),))
    [told] = peers.look(ONE, later, now=1120, clock=0)
    assert (told.since, told.handshake) == (990, 1110)
