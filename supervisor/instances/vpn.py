"""A `vpn` instance: inside like a `local` one; its only ways out are tunnels. Pure."""

from __future__ import annotations

import dataclasses

import msgspec

from nsmanager.vpn.routing import tunnel_mtu
from pubsub.config.rules_vpn import FILES
from pubsub.topics import IpsecConnection, NamespaceTunnel, NetworkInstanceConfig, VpnConfig
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
    connections = (config.vpn or VpnConfig()).connections
    mtu = tunnel_mtu(place.mtu, [connection.remote.ip for connection in connections.values()])
    if mtu < IPV6_MTU:
        place = dataclasses.replace(place, subnet6=None)
    local = resolve_local(config, place)
    tunnels = tuple(_tunnel(name, connection, place) for name, connection in sorted(connections.items()))
    namespace = msgspec.structs.replace(
        local.namespace,
        tunnels=tunnels if place.linked else (),
        tunnel_mtu=mtu,
        servers=config.dns.servers if place.linked else (),
    )
    return Resolved(namespace)


def _tunnel(name: str, connection: IpsecConnection, place: Place) -> NamespaceTunnel:
    files = [path for field in FILES if (path := getattr(connection, field))]
    versions = [place.secrets.get(path, "") for path in files]
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
        secrets=" ".join(versions) if all(versions) else "",
    )


def _own(connection: IpsecConnection, place: Place) -> tuple[Network, ...]:
    """Return the instance's networks, of those versions of IP that the peer's are of."""
    versions = {selector.network.version for selector in connection.remote_subnets}
    own = (place.subnet, *((place.subnet6,) if place.subnet6 else ()))
    return tuple(Network(network) for network in own if network.version in versions)
