"""`table inet nsvisor` of an instance that routes: who may pass, and its half of NAT and port maps. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from nsmanager.firewall import judging, limits, sealed
from nsmanager.firewall.entries import app_entries, watched
from nsmanager.firewall.exit import Exit, Inbound, exits
from nsmanager.firewall.hosts import host_declarations, host_sets
from nsmanager.firewall.words import indented
from nsmanager.items.nftables import NftTable
from nsmanager.marks import DNS_GROUP, NFT_TABLE
from nsmanager.names import BRIDGE
from nsmanager.residents import METADATA, METADATA6
from pubsub.topics import NamespaceConfig, NamespaceLink

INPUT = """
	# DHCP, DNS, metadata and echo from the apps; nothing else of this namespace is reachable
	chain input {{
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
		iifname "{bridge}" udp sport 68 udp dport 67 accept
		iifname "{bridge}" ip saddr != {subnet} drop
{input6}{queries}{log}		ct state established,related accept
{opening}		iifname "{bridge}" meta l4proto {{ tcp, udp }} th dport 53 accept
		iifname "{bridge}" ip daddr {metadata} tcp dport 80 accept
		iifname "{bridge}" icmp type echo-request accept
{input_link}	}}
"""

# Of neighbour discovery what a router must hear, by its own link only: no router leaves a hop limit of 255 (RFC 4861).
# Other routers' advertisements and redirects, and other servers' DHCPv6, are accepted by no rule.
INPUT6 = """\
		iifname "{bridge}" ip6 saddr != {{ ::, fe80::/64, {subnet6} }} drop
		iifname "{bridge}" icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} \
ip6 hoplimit 255 accept
		iifname "{bridge}" ip6 saddr fe80::/64 udp dport 547 accept
		iifname "{bridge}" icmpv6 type echo-request accept
		iifname "{bridge}" ip6 daddr {metadata6} tcp dport 80 accept
"""

# Copies of queries and answers, for the log and for the sets of names: they are read by the manager.
LOG = '\t\tiifname "{bridge}" meta l4proto {{ tcp, udp }} th dport 53 log group {group}\n'
OUTPUT_LOG = """
	chain output {{
		type filter hook output priority filter; policy accept;
		oifname "{bridge}" meta l4proto {{ tcp, udp }} th sport 53 log group {group}
	}}
"""

FORWARD = """
	# outwards to where an exit leads, inwards what it lets in; each app with an address of the subnet
	chain forward {{
		type filter hook forward priority filter; policy drop;
{bridged}		iifname "{bridge}" ip saddr != {subnet} drop
{forward6}{opening}{forward_apps}{clamp}{ways}	}}
"""

# An app that doesn't ask for the MTU sends and gets segments that fit all the same.
CLAMP = "\t\ttcp flags syn tcp option maxseg size set rt mtu\n"

# The answers go from app to app, not by us: what is seen of such a connection may look invalid.
FORWARD_APP = '\t\tiifname "{bridge}" oifname "{bridge}" ip daddr {to} {verdict}\n'

FORWARD6 = '\t\tiifname "{bridge}" ip6 saddr != {subnet6} drop\n'

NAT = """
	# from an outer port of the link's address to an app
	map portmap{v} {{
		type inet_proto . inet_service : {type} . inet_service
{elements}	}}
"""

PREROUTING = """
	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
{rules}	}}
"""
DNAT = '\t\tiifname "{link}" {ip} daddr {address} dnat {ip} to meta l4proto . th dport map @portmap{v}\n'

POSTROUTING = """
	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
{rules}	}}
"""
SNAT = '\t\toifname "{link}" {ip} saddr {subnet} snat {ip} to {address}\n'
OPENING = f"\t\t{limits.OPENING}\n"


def table(config: NamespaceConfig) -> NftTable:
    """Return the table. Without an address of the bridge, IPv6 is dropped: nothing accepts it."""
    names = {"bridge": BRIDGE, "subnet": str(config.router.network), "metadata": str(METADATA), "group": str(DNS_GROUP)}
    on6 = config.bridge6 is not None
    if config.bridge6 is not None:
        names |= {"subnet6": str(config.bridge6.network), "metadata6": str(METADATA6)}
    link, ways = config.link, exits(config)
    logged = config.log.dns or bool(host_sets(config))
    judged = watched(config)
    apps = app_entries(config) if judged else ()
    text = INPUT.format(
        **names,
        input6=INPUT6.format(**names) if on6 else "",
        queries=limits.queries(config),
        log=LOG.format(**names) if logged else "",
        opening=OPENING,
        input_link=_from_host(link, on6=on6) if link else "",
    )
    text += OUTPUT_LOG.format(**names) if logged else ""
    by_app = "goto by-app" if judged else "accept"
    text += limits.chains(config) + (judging.chains(config, apps) if judged else "")
    text += FORWARD.format(
        **names,
        bridged=f"\t\t{judging.BRIDGED}\n" if judged else "",
        forward6=FORWARD6.format(**names) if on6 else "",
        opening="" if judged else OPENING,
        forward_apps="".join(FORWARD_APP.format(**names, to=route.to, verdict=by_app) for route in config.app_routes),
        clamp=CLAMP if link else "",
        ways="".join(_through(one, judged=judged) for one in ways),
    )
    text += sealed.chains(config)
    if link is not None and any(one.snat for one in ways):
        text += _nat(config, link)
    return NftTable(
        "inet",
        NFT_TABLE,
        text,
        kept=(*limits.kept(config), *judging.kept(apps), *host_declarations(config)),
        blocks=judging.blocks(config, apps),
    )


def _from_host(link: NamespaceLink, *, on6: bool) -> str:
    """Return the rules by which the host can try whether the link works."""
    rules = f'\t\tiifname "{link.ifname}" ip saddr {link.gateway} icmp type echo-request accept\n'
    if on6 and link.gateway6 is not None:
        rules += f'\t\tiifname "{link.ifname}" ip6 saddr {link.gateway6} icmpv6 type echo-request accept\n'
    return rules


def _through(way: Exit, *, judged: bool) -> str:
    """Return what passes by an exit; where apps have rules, what these let pass. Established isn't enough elsewhere."""
    outwards, inwards = ("goto outwards", "goto inwards") if judged else ("accept", "accept")
    out, into = f'iifname "{BRIDGE}" oifname "{way.ifname}"', f'iifname "{way.ifname}" oifname "{BRIDGE}"'
    # What conntrack calls invalid passes NAT untranslated, and has no mark.
    lines = [f"{out} {judging.UNTRACKED}" if judged else f"{out} ct state invalid drop"]
    lines += [f"{out} {matched}{outwards}" for matched in _matches(way, "daddr")]
    if judged:
        lines += [f"{into} {judging.UNTRACKED}", f"{into} ct direction reply {inwards}"]
    else:
        lines.append(f"{into} ct state established,related accept")
    if way.inbound is Inbound.PORTMAPS:
        lines.append(f"{into} ct status dnat {inwards}")
    else:
        lines += [f"{into} {matched}{inwards}" for matched in _matches(way, "saddr")]
    return indented(lines, 2)


def _matches(way: Exit, end: str) -> list[str]:
    """Return what matches the networks of an exit, of each version of IP."""
    found = []
    for version, ip in ((4, "ip"), (6, "ip6")):
        networks = [str(network) for network in way.to if network.version == version]
        found += [f"{ip} {end} {{ {', '.join(networks)} }} "] if networks else []
    return found if way.to else [""]


def _nat(config: NamespaceConfig, link: NamespaceLink) -> str:
    """Return the maps of the ports, and both chains of NAT; a routed prefix keeps its addresses on the way out."""
    maps = NAT.format(v="", type="ipv4_addr", elements=_elements(config, 4))
    dnat = DNAT.format(link=link.ifname, ip="ip", address=link.address.ip, v="")
    snat = _snat(link, config.router, link.address)
    if config.bridge6 is not None and link.address6 is not None:
        maps += NAT.format(v="6", type="ipv6_addr", elements=_elements(config, 6))
        dnat += DNAT.format(link=link.ifname, ip="ip6", address=link.address6.ip, v="6")
        snat += _snat(link, config.bridge6, link.address6) if config.nat6 else ""
    return maps + PREROUTING.format(rules=dnat) + POSTROUTING.format(rules=snat)


def _snat(link: NamespaceLink, bridge: IPv4Interface | IPv6Interface, address: IPv4Interface | IPv6Interface) -> str:
    ip = "ip" if bridge.version == 4 else "ip6"
    return SNAT.format(link=link.ifname, ip=ip, subnet=bridge.network, address=address.ip)


def _elements(config: NamespaceConfig, version: int) -> str:
    """Return a map's elements, in order; an app without an address of that version has none."""
    found: dict[tuple[str, int], tuple[IPv4Address | IPv6Address, int]] = {}
    for app in config.apps:
        address = app.address if version == 4 else app.address6
        if address is not None:
            found |= {(port.protocol, port.outer): (address, port.inner) for port in app.ports}
    return _element_list(
        f"{protocol} . {outer} : {address} . {inner}" for (protocol, outer), (address, inner) in sorted(found.items())
    )


def _element_list(words: Iterable[str]) -> str:
    text = ", ".join(words)
    return f"\t\telements = {{ {text} }}\n" if text else ""
