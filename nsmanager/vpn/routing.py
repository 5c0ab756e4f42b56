"""The routes of a VPN instance: what leaves it leaves by a tunnel, or not at all. Pure.

A rule leads all packets to a table of their own, which ends in `unreachable`. It holds the networks behind the tunnels,
by the tunnels' links: when one goes, as with its charon, its routes go, and what is left lets nothing out. Only what
this namespace itself sends to a peer or to the host's end of the link takes the main table, which has the uplink.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from nsmanager.item import Item
from nsmanager.items.link import Link
from nsmanager.items.route import RT_TABLE_MAIN, Route
from nsmanager.items.rule import Rule
from nsmanager.items.wireguard import Peer, Wireguard
from nsmanager.names import BRIDGE, LINK_LOCAL, TUNNEL, WIREGUARD
from nsmanager.place import Place
from nsmanager.vpn.secrets import WIREGUARD_KEY, WIREGUARD_SECRET, secret_file
from pubsub.topics import NamespaceConfig, NamespacePeer, NamespaceTunnel

TUNNEL_TABLE = 195  # unused in rt_tables; the namespace is ours
PREF_PEERS = 10  # after the local table (0), before the main one (32766)
PREF_TUNNEL = 20
IF_ID = 1  # of the kernel's IPsec policies; one link serves all tunnels
LAST_METRIC = 4294967295
ANYWHERE: dict[int, IPv4Network | IPv6Network] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}

# Bytes that ESP adds at most, in UDP: a header of IP, 8 of UDP, 8 of ESP, 16 of the IV, 15 to fill a block of AES,
# 2 of the trailer, and 32 that authenticate (SHA-512).
ESP_OVERHEAD = {4: 20 + 81, 6: 40 + 81}
# WireGuard's: a header of IP, 8 of UDP, 16 of its own, 16 that authenticate. It fills blocks up to the MTU only.
WIREGUARD_OVERHEAD = {4: 20 + 40, 6: 40 + 40}


def tunnel_mtu(
    mtu: int, peers: Iterable[IPv4Address | IPv6Address], wireguard: Iterable[IPv4Address | IPv6Address] = ()
) -> int:
    """Return how many bytes fit through tunnels over a link: a multiple of 4, for all peers by IPsec and WireGuard."""
    lost = [ESP_OVERHEAD[peer.version] for peer in peers] + [WIREGUARD_OVERHEAD[peer.version] for peer in wireguard]
    return (mtu - max(lost, default=0)) // 4 * 4


def closed(config: NamespaceConfig) -> Iterator[Item]:
    """Yield what shuts everything in, before there is a link."""
    if not config.sealed:
        return
    for version in _versions(config):
        yield Route(ANYWHERE[version], table=TUNNEL_TABLE, type="unreachable", metric=LAST_METRIC)
        yield Rule(PREF_TUNNEL, table=TUNNEL_TABLE, family=version)
    for address in _outside(config):
        if address.version in _versions(config):
            to: IPv4Network | IPv6Network = (
                IPv4Network(address) if isinstance(address, IPv4Address) else IPv6Network(address)
            )
            yield Rule(PREF_PEERS, table=RT_TABLE_MAIN, iif="lo", dst=to, family=address.version)


def inside(config: NamespaceConfig) -> Iterator[Item]:
    """Yield the routes to the apps, when their bridge is there."""
    if not config.sealed:
        return
    yield Route(config.router.network, table=TUNNEL_TABLE, dev=BRIDGE)
    for route in config.app_routes:
        yield Route(route.to, table=TUNNEL_TABLE, via=route.via, dev=BRIDGE)
    if config.bridge6 is not None:
        yield Route(config.bridge6.network, table=TUNNEL_TABLE, dev=BRIDGE)
        yield Route(LINK_LOCAL, table=TUNNEL_TABLE, dev=BRIDGE)


def links(config: NamespaceConfig, place: Place) -> Iterator[Link]:
    """Yield the links of the tunnels. Without the kernel's ESP charon makes its own, a tun."""
    if config.tunnels and place.kernel_esp:
        yield Link(TUNNEL, kind="xfrm", if_id=IF_ID, mtu=config.tunnel_mtu)
    elif config.tunnels:
        yield Link(TUNNEL, mtu=config.tunnel_mtu)
    if config.wireguard is not None:
        yield Link(WIREGUARD, kind="wireguard", mtu=config.tunnel_mtu)


def through(config: NamespaceConfig, place: Place) -> Iterator[Item]:
    """Yield what is reached by the links of the tunnels, and who is at the other end of WireGuard's."""
    for ifname, networks in reached(config).items():
        for network in networks:
            # The namespace's own packets, as DNS queries, go as the bridge's address: the link's is none of a tunnel's.
            if network.version == 4:
                yield Route(network, table=TUNNEL_TABLE, dev=ifname, src=config.router.ip)
            elif config.bridge6 is not None:
                yield Route(network, table=TUNNEL_TABLE, dev=ifname, src=config.bridge6.ip)
    if config.wireguard is not None and config.wireguard.secrets:
        yield Wireguard(
            WIREGUARD,
            secret=str(place.run / secret_file(WIREGUARD, WIREGUARD_KEY)),
            version=config.wireguard.secrets,
            peers=tuple(_peer(peer, place) for peer in config.wireguard.peers),
        )


def _peer(peer: NamespacePeer, place: Place) -> Peer:
    return Peer(
        peer.name,
        peer.public_key.raw,
        peer.remote.ip,
        peer.port,
        frozenset(selector.network for selector in peer.remote_subnets),
        int(peer.keepalive),
        str(place.run / secret_file(peer.name, WIREGUARD_SECRET)) if peer.shared_secret else "",
    )


def reached(config: NamespaceConfig) -> dict[str, tuple[IPv4Network | IPv6Network, ...]]:
    """Return what is reached by each link of tunnels."""
    tunnels: dict[str, Iterable[NamespaceTunnel | NamespacePeer]] = {}
    if config.tunnels:
        tunnels[TUNNEL] = config.tunnels
    if config.wireguard is not None:
        tunnels[WIREGUARD] = config.wireguard.peers
    return {
        ifname: tuple(selector.network for one in ones for selector in one.remote_subnets)
        for ifname, ones in tunnels.items()
    }


def _outside(config: NamespaceConfig) -> Iterator[IPv4Address | IPv6Address]:
    """Yield whom this namespace itself reaches by its link."""
    if config.link is not None:
        yield config.link.gateway
        if config.link.gateway6 is not None:
            yield config.link.gateway6
    peers = [*(tunnel.remote.ip for tunnel in config.tunnels), *(peer.remote.ip for peer in config.peers)]
    yield from dict.fromkeys(peers)


def _versions(config: NamespaceConfig) -> tuple[int, ...]:
    """Return the versions of IP that the instance has, inside or on its link."""
    six = config.bridge6 is not None or (config.link is not None and config.link.address6 is not None)
    return (4, 6) if six else (4,)
