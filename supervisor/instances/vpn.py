"""A `vpn` instance: inside like a `local` one; its only ways out are tunnels. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nsmanager.vpn.routing import tunnel_mtu
from pubsub.config.rules_vpn import FILES
from pubsub.topics import (
    IpsecConnection,
    NamespacePeer,
    NamespaceTunnel,
    NamespaceWireguard,
    NetworkInstanceConfig,
    VpnConfig,
    WireguardConfig,
    WireguardPeer,
)
from pubsub.values import IpAddress, Network
from supervisor.instances.base import Place, Resolved
from supervisor.instances.local import resolve_local

# In strongSwan's words: what peers of the last ten years have in common, the best first.
PROPOSALS = (
    "aes256gcm16-prfsha256-prfsha384-ecp256-ecp384-modp3072-modp2048",
    "aes256-sha256-sha384-sha512-ecp256-ecp384-modp3072-modp2048",
)
ESP_PROPOSALS = ("aes256gcm16-ecp256-ecp384-modp3072-modp2048", "aes256gcm16", "aes256-sha256-sha512")
IPV6_MTU = 1280  # bytes (RFC 8200)


def resolve_vpn(config: NetworkInstanceConfig, place: Place) -> Resolved:
    """Make every choice of one valid config. DNS asks only whom the config names: by a tunnel."""
    vpn = config.vpn or VpnConfig()
    connections, wireguard = vpn.connections, vpn.wireguard
    peers = wireguard.peers if wireguard is not None else {}
    mtu = tunnel_mtu(
        place.mtu,
        [connection.remote.ip for connection in connections.values()],
        [peer.remote.ip for peer in peers.values()],
    )
    if mtu < IPV6_MTU:
        place = msgspec.structs.replace(place, subnet6=None)
    local = resolve_local(config, place)
    tunnels = tuple(_tunnel(name, connection, place) for name, connection in sorted(connections.items()))
    namespace = msgspec.structs.replace(
        local.namespace,
        tunnels=tunnels if place.linked else (),
        wireguard=_wireguard(wireguard, place) if wireguard is not None and place.linked else None,
        tunnel_mtu=mtu,
        servers=config.dns.servers if place.linked else (),
    )
    return Resolved(namespace)


def _tunnel(name: str, connection: IpsecConnection, place: Place) -> NamespaceTunnel:
    return NamespaceTunnel(
        name=name,
        remote=IpAddress(connection.remote.ip),
        remote_subnets=connection.remote_subnets,
        local_subnets=connection.local_subnets or _own(connection, place),
        certificates=not connection.secret_file,
        local_id=connection.local_id,
        remote_id=connection.remote_id or str(connection.remote),
        proposals=connection.proposals or PROPOSALS,
        esp_proposals=connection.esp_proposals or ESP_PROPOSALS,
        dpd=connection.dpd,
        rekey=connection.rekey,
        rekey_ike=connection.rekey_ike,
        secrets=_versions((path for field in FILES if (path := getattr(connection, field))), place),
    )


def _wireguard(wireguard: WireguardConfig, place: Place) -> NamespaceWireguard:
    peers = sorted(wireguard.peers.items())
    files = [wireguard.key_file, *(peer.secret_file for _, peer in peers if peer.secret_file)]
    return NamespaceWireguard(
        peers=tuple(_peer(name, peer) for name, peer in peers),
        secrets=_versions(files, place),
    )


def _peer(name: str, peer: WireguardPeer) -> NamespacePeer:
    return NamespacePeer(
        name=name,
        public_key=peer.public_key,
        remote=IpAddress(peer.remote.ip),
        port=peer.port,
        remote_subnets=peer.remote_subnets,
        keepalive=peer.keepalive,
        shared_secret=bool(peer.secret_file),
    )


def _versions(files: Iterable[str], place: Place) -> str:
    """Return what changes with any of the files; empty when one is missing."""
    versions = [place.secrets.get(path, "") for path in files]
    return " ".join(versions) if all(versions) else ""


def _own(connection: IpsecConnection, place: Place) -> tuple[Network, ...]:
    """Return the instance's networks, of those versions of IP that the peer's are of."""
    versions = {selector.network.version for selector in connection.remote_subnets}
    own = (place.subnet, *((place.subnet6,) if place.subnet6 else ()))
    return tuple(Network(network) for network in own if network.version in versions)
