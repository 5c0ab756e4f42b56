"""What the WireGuard link of a VPN instance must fulfil beyond its types."""

from __future__ import annotations

from pubsub.config.rules_words import Findings, Path
from pubsub.topics import NetworkInstanceConfig, WireguardConfig
from pubsub.values import Duration

PORT_RANGE = (1, 65535)
KEEPALIVE_RANGE = (Duration(1), Duration(3600))  # the kernel's highest is 18 h; NAT forgets UDP after minutes


def check_wireguard(config: NetworkInstanceConfig) -> Findings:
    """Yield what only WireGuard demands of its peers."""
    wireguard = config.vpn.wireguard if config.vpn is not None else None
    if wireguard is None:
        return
    path: Path = ("vpn", "wireguard")
    if not wireguard.peers:
        message = "a WireGuard link without a peer reaches nothing"
        yield (*path, "peers"), message, "add `peers: {NAME: {public_key: …, remote: …, remote_subnets: […]}}`"
    yield from _names(path, config, wireguard)
    keys: dict[str, str] = {}
    for name, peer in wireguard.peers.items():
        here = (*path, "peers", name)
        holder = keys.setdefault(str(peer.public_key), name)
        if holder != name:
            message = f"the key is that of peer {holder}, and WireGuard knows a peer by its key alone"
            yield (*here, "public_key"), message, "let each peer have its own key, or make one peer of the two"
        low, high = PORT_RANGE
        if not low <= peer.port <= high:
            yield (*here, "port"), f"{peer.port} is no port", f"use {low} to {high}"
        shortest, longest = KEEPALIVE_RANGE
        if not shortest <= peer.keepalive <= longest:
            message = f"a packet every {peer.keepalive} doesn't keep the way open"
            yield (*here, "keepalive"), message, f"use {shortest} to {longest}"


def _names(path: Path, config: NetworkInstanceConfig, wireguard: WireguardConfig) -> Findings:
    for name in wireguard.peers:
        if config.vpn is not None and name in config.vpn.connections:
            message = f"{name} is a connection by IPsec already, and a tunnel has one name"
            yield (*path, "peers", name), message, "choose another name"
