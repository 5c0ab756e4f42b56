"""Names that follow from an instance's name, and those that each namespace has."""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Address, IPv6Network

BRIDGE = "br0"
LINK_LOCAL = IPv6Network("fe80::/64")
TUNNEL = "ipsec0"  # of all tunnels by IPsec of an instance; so does charon call the one that it makes itself
WIREGUARD = "wg0"  # of all tunnels by WireGuard


def bridge_mac(instance: str) -> str:
    """Return the same locally administered MAC address for the same instance each time."""
    digest = hashlib.blake2s(instance.encode(), digest_size=5).digest()
    return "02:" + digest.hex(":")


def eui64(network: IPv6Network, mac: str) -> IPv6Address:
    """Return the address of a link with that MAC address in a /64, as SLAAC makes it (RFC 4291, appendix A)."""
    raw = bytes.fromhex(mac.replace(":", ""))
    host = bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:]
    return network.network_address + int.from_bytes(host, "big")
