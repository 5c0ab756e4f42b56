"""What a VPN instance itself may send by its link: its tunnels' packets to its peers; nothing is forwarded there. Pure.

Routes say the same already (`nsmanager/vpn/routing.py`): either alone is enough.
"""

from __future__ import annotations

from pubsub.topics import NamespaceConfig, NamespaceLink

IKE_PORTS = "500, 4500"  # RFC 7296, and RFC 3948: both in UDP, so that NAT on the way lets them pass

CHAINS = """
	# only tunnels lead out, and the link carries only them
	chain sealed_output {{
		type filter hook output priority filter; policy accept;
{peers}		oifname "{link}" ip daddr {gateway} icmp type echo-reply accept
{gateway6}		oifname "{link}" drop
	}}

	chain sealed_forward {{
		type filter hook forward priority filter; policy accept;
		iifname "{link}" drop
		oifname "{link}" drop
	}}
"""
PEER = '\t\toifname "{link}" {ip} daddr {address} udp dport {{ {ports} }} accept\n'
GATEWAY6 = '\t\toifname "{link}" ip6 daddr {address} icmpv6 type echo-reply accept\n'


def chains(config: NamespaceConfig) -> str:
    """Return the chains that seal the link of an instance with tunnels; empty: it has none."""
    link = config.link
    if not config.sealed or link is None:
        return ""
    return CHAINS.format(link=link.ifname, gateway=link.gateway, peers=_peers(config, link), gateway6=_echo6(link))


def _peers(config: NamespaceConfig, link: NamespaceLink) -> str:
    peers = [(tunnel.remote.ip, IKE_PORTS) for tunnel in config.tunnels]
    peers += [(peer.remote.ip, str(peer.port)) for peer in config.peers]
    return "".join(
        PEER.format(link=link.ifname, ip="ip" if peer.version == 4 else "ip6", address=peer, ports=ports)
        for peer, ports in dict.fromkeys(peers)
    )


def _echo6(link: NamespaceLink) -> str:
    return GATEWAY6.format(link=link.ifname, address=link.gateway6) if link.gateway6 is not None else ""
