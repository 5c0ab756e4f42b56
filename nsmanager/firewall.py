"""The nft table of a `local` instance: who may pass, and the instance's half of NAT and port maps. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address

from nsmanager.items.nftables import NftTable
from nsmanager.marks import NFT_TABLE
from nsmanager.names import BRIDGE
from pubsub.topics import NamespaceConfig, NamespaceLink

INPUT = """
	# DHCP, DNS and echo from the apps; nothing else of this namespace is reachable
	chain input {{
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
		iifname "{bridge}" udp sport 68 udp dport 67 accept
		iifname "{bridge}" ip saddr != {subnet} drop
		ct state established,related accept
		iifname "{bridge}" meta l4proto {{ tcp, udp }} th dport 53 accept
		iifname "{bridge}" icmp type echo-request accept
{input_link}	}}
"""

FORWARD = """
	# outwards all, inwards port maps only; each app with an address of the subnet
	chain forward {{
		type filter hook forward priority filter; policy drop;
		iifname "{bridge}" ip saddr != {subnet} drop
		ct state established,related accept
{forward_link}	}}
"""

NAT = """
	# from an outer port of the link's address to an app
	map portmap {{
		type inet_proto . inet_service : ipv4_addr . inet_service
{elements}	}}

	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
		iifname "{link}" ip daddr {address} dnat ip to meta l4proto . th dport map @portmap
	}}

	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		oifname "{link}" ip saddr {subnet} snat ip to {address}
	}}
"""


def table(config: NamespaceConfig) -> NftTable:
    """Return the table. IPv6 is dropped: nothing accepts it."""
    names = {"bridge": BRIDGE, "subnet": str(config.bridge.network)}
    link = config.link
    if link is None:
        text = INPUT.format(**names, input_link="") + FORWARD.format(**names, forward_link="")
    else:
        names |= {"link": link.ifname, "address": str(link.address.ip)}
        text = INPUT.format(**names, input_link=_from_host(link))
        text += FORWARD.format(**names, forward_link=_through(link))
        text += NAT.format(**names, elements=_elements(config))
    return NftTable("inet", NFT_TABLE, text)


def _from_host(link: NamespaceLink) -> str:
    """Return the rule by which the host can try whether the link works."""
    return f'\t\tiifname "{link.ifname}" ip saddr {link.gateway} icmp type echo-request accept\n'


def _through(link: NamespaceLink) -> str:
    outwards = f'\t\tiifname "{BRIDGE}" oifname "{link.ifname}" accept\n'
    return outwards + f'\t\tiifname "{link.ifname}" oifname "{BRIDGE}" ct status dnat accept\n'


def _elements(config: NamespaceConfig) -> str:
    """Return the map's elements, in order; an app without an address has none."""
    found: dict[tuple[str, int], tuple[IPv4Address, int]] = {}
    for app in config.apps:
        if app.address is not None:
            found |= {(port.protocol, port.outer): (app.address, port.inner) for port in app.ports}
    words = [
        f"{protocol} . {outer} : {address} . {inner}" for (protocol, outer), (address, inner) in sorted(found.items())
    ]
    return f"\t\telements = {{ {', '.join(words)} }}\n" if words else ""
