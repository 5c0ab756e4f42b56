"""`table bridge nsvisor`: no app sends what isn't its to send; and it writes on each packet which app it is from. Pure.

An app sends with its own MAC address only, and with its own addresses: the planned ones, and where they come from
outside or from the app itself (SLAAC, RFC 8981) up to a few that nobody had before it. It answers ARP and neighbour
discovery for these only, and is no DHCP server and no router of IPv6. Ports that are no app's aren't checked.

What an app makes of its ports outside may be a loop: of what is for many each port lets so much in a second, and what
is for one leaves by the port of that one only.

The sets `seen4-APP` and `seen6-APP` hold what an app took that way, and are what is known of its addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from nsmanager.firewall import limits
from nsmanager.firewall.entries import app_numbers, watched
from nsmanager.firewall.numbers import OTHER_PORT, high, low
from nsmanager.firewall.words import chain, indented, map_of, one_of, set_of
from nsmanager.items.nftables import NftTable
from nsmanager.marks import NFT_TABLE
from nsmanager.names import LINK_LOCAL, bridge_mac, eui64
from nsmanager.place import Place
from pubsub.topics import NamespaceApp, NamespaceConfig

SEEN_SIZE = 16  # addresses of each version that an app may take
SEEN_TIMEOUT = "1h"  # of silence; then another app may take the address
# The fields that may hold an address that an app takes; `th` of a neighbour solicitation is its target.
TAKEN_FIELDS = {
    "ip": ("ip saddr", 4), "arp": ("arp saddr ip", 4), "nh": ("@nh,64,128", 6), "th": ("@th,64,128", 6),
}  # fmt: skip

# Chains of the frames of one app. An ARP, NS or NA is about its own addresses; a server's or router's word is none's.
APP = """
	chain from-{name} {{
		meta mark set {mark}
{mac}{storm}		ether type ip goto ip-{name}
		ether type ip6 goto ip6-{name}
		ether type arp goto arp-{name}
{other}		goto spoofing
	}}

	chain arp-{name} {{
		arp htype != 1 goto spoofing
		arp ptype != ip goto spoofing
		arp hlen != 6 goto spoofing
		arp plen != 4 goto spoofing
{arp_mac}		arp saddr ip 0.0.0.0 accept
{arp}		goto spoofing
	}}

	chain ip-{name} {{
		udp sport 67 goto spoofing
{dhcp}{leases}		ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
{ip}		goto spoofing
	}}

	chain ip6-{name} {{
		exthdr frag exists jump fragments6
		icmpv6 type {{ nd-router-advert, nd-redirect }} goto spoofing
		udp sport 547 goto spoofing
{nd_mac}		ip6 saddr :: icmpv6 type {{ nd-router-solicit, mld-listener-report, mld2-listener-report }} accept
		ip6 saddr :: icmpv6 type nd-neighbor-solicit goto target6-{name}
		icmpv6 type nd-neighbor-advert {target} @th,64,128 != @seen6-{name} goto spoofing
{leases6}{ip6}		goto spoofing
	}}

	# whose address an app asks for before it takes it
	chain target6-{name} {{
{target6}		goto spoofing
	}}
"""
DHCP_PORT, DHCP6_PORT = 67, 547  # of a server
# Who asks by DHCP asks for its own MAC address (chaddr, RFC 2131), which no fragment hides: one app, one lease.
DHCP = ("udp dport 67 ip frag-off and 0x3fff != 0 goto spoofing", "udp dport 67 @th,288,48 != 0x{} goto spoofing")
CHAINS = """
	# what isn't the app's to send
	chain spoofing {{
		counter name iifname map @spoofed
		drop
	}}

	# of what comes in parts the first must show what it is (RFC 7112); neighbour discovery is never in parts (RFC 6980)
	chain fragments6 {{
		frag frag-off != 0 return
		icmpv6 type {{ 133-137 }} goto spoofing
		@th,0,64 >= 0 return
		goto spoofing
	}}

	chain prerouting {{
		type filter hook prerouting priority -300; policy accept;
		iifname vmap @ports
	}}

	# frames for the bridge itself, as of spanning tree, don't pass `prerouting`
	chain input {{
		type filter hook input priority filter; policy accept;
		ether daddr and ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 iifname vmap @ports
	}}
"""
# An app gets what is for its MAC address, and what is for many.
TO = """
	chain to-{name} {{
{mac}{mark}	}}
"""
FORWARD = """
	chain forward {{
		type filter hook forward priority filter; policy accept;
{mark}		oifname vmap @to-ports
	}}
"""
TO_MARK = "meta mark set meta mark and 0x0000ffff or {}"  # the upper half: to whom
# Without br_netfilter nothing has judged it: then the mark's upper half is as `forward` wrote it.
UNJUDGED = """
	# of apps with rules only what the rules have let pass
	chain unjudged {{
		type filter hook forward priority 100; policy accept;
		meta protocol != {{ ip, ip6 }} accept
		meta mark and 0xffff0000 == 0x00000000 accept
		iifname {ports} drop
		oifname {ports} drop
	}}
"""


def table(config: NamespaceConfig, place: Place) -> NftTable:
    """Return the table. Frames are marked at their way out too where packets between ports pass the rules."""
    apps = [app for app in config.apps if app.ifname]
    numbers = app_numbers(config)
    lines = [
        *map_of("spoofed", "ifname : counter", (f'"{app.ifname}" : "{spoofed_counter(app.name)}"' for app in apps)),
        *map_of("ports", "ifname : verdict", (f'"{app.ifname}" : goto from-{app.name}' for app in apps)),
        *_reserved(config, place),
    ]
    text = "\n" + indented(lines).rstrip("\n") + "\n" + CHAINS.format()
    text += "".join(_taken(apps, name) for name in TAKEN_FIELDS)
    text += "".join(_app(config, app, numbers[app.name]) for app in apps)
    judged = watched(config)
    led = apps if judged else [app for app in apps if not app.any_mac]
    lines = list(map_of("to-ports", "ifname : verdict", (f'"{app.ifname}" : goto to-{app.name}' for app in led)))
    text += "\n" + indented(lines).rstrip("\n") + "\n"
    text += FORWARD.format(mark=_lines([TO_MARK.format(high(OTHER_PORT))] if judged else []))
    text += "".join(_to(app, high(numbers[app.name]) if judged else "") for app in led)
    ruled = [f'"{app.ifname}"' for app in led if judged and app.rules is not None]
    text += UNJUDGED.format(ports=one_of(ruled)) if ruled else ""
    return NftTable("bridge", NFT_TABLE, text, kept=(*limits.kept_of_ports(), *_kept(apps)))


def spoofed_counter(app: str) -> str:
    """Name the counter of what an app sent that wasn't its to send."""
    return f"spoofed/{app}"


def seen_sets(app: str) -> tuple[str, str]:
    """Name the sets of addresses that an app took: IPv4's, and IPv6's, which are written as numbers."""
    return f"seen4-{app}", f"seen6-{app}"


def _kept(apps: Iterable[NamespaceApp]) -> Iterator[str]:
    for app in apps:
        seen4, seen6 = seen_sets(app.name)
        yield f"counter {spoofed_counter(app.name)} {{ }}"
        yield f"set {seen4} {{ type ipv4_addr; flags dynamic,timeout; timeout {SEEN_TIMEOUT}; size {SEEN_SIZE}; }}"
        yield f"set {seen6} {{ typeof @nh,64,128; flags dynamic,timeout; timeout {SEEN_TIMEOUT}; size {SEEN_SIZE}; }}"


def _reserved(config: NamespaceConfig, place: Place) -> Iterator[str]:
    """Yield the sets of addresses that are somebody's in any case: no app takes them."""
    found4 = [str(app.address) for app in config.apps if app.address is not None]
    found4 += [str(config.bridge.ip)] if config.bridge is not None else []
    yield from set_of("reserved4", "type ipv4_addr", found4)
    found6 = [address for app in config.apps for address in own6(app)]
    if config.bridge is not None:
        found6.append(eui64(LINK_LOCAL, bridge_mac(place.name)))
    found6 += [config.bridge6.ip] if config.bridge6 is not None else []
    yield from set_of("reserved6", "typeof @nh,64,128", [raw(address) for address in found6])


def _app(config: NamespaceConfig, app: NamespaceApp, number: int) -> str:
    """Return the chains of one app's port."""
    mac, own = str(app.mac), own6(app)
    takes4 = app.address is None
    told = f"@th,192,8 {{ 1, 2 }} @th,208,48 != 0x{mac.replace(':', '')}"  # source's or target's link-layer address
    neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"
    checked = (
        f"{neighbours} {told} goto spoofing",
        f"ip6 saddr != :: {neighbours} @th,192,8 != {{ 1, 2 }} goto spoofing",
    )
    return APP.format(
        name=app.name,
        mark=low(number),
        mac=_lines([] if app.any_mac else [f"ether saddr != {mac} goto spoofing"]),
        storm=limits.broadcasts(config),
        other=_lines(["ether type 0x88cc accept"] if config.lldp else []),
        arp_mac=_lines([] if app.any_mac else [f"arp saddr ether != {mac} goto spoofing"]),
        nd_mac=_lines(() if app.any_mac else checked),
        dhcp=_lines([] if app.any_mac else [rule.format(mac.replace(":", "")) for rule in DHCP]),
        leases=limits.lease_requests(config, DHCP_PORT),
        leases6=limits.lease_requests(config, DHCP6_PORT),
        arp=_lines([*_owned4(app, config, "arp saddr ip"), *(_take(app, config, "arp") if takes4 else ())]),
        ip=_lines([*_owned4(app, config, "ip saddr"), *(_take(app, config, "ip") if takes4 else ())]),
        target=" ".join(f"@th,64,128 != {raw(address)}" for address in own),
        ip6=_lines([f"ip6 saddr {one_of(map(str, own))} accept", *_take(app, config, "nh")]),
        target6=_lines([f"@th,64,128 {one_of(map(raw, own))} accept", *_take(app, config, "th")]),
    )


def _owned4(app: NamespaceApp, config: NamespaceConfig, field: str) -> Iterator[str]:
    """Yield what lets an app's planned address pass.

    A router's packets come from the networks behind it too, and its kernel asks by ARP in their name.
    """
    if app.address is not None:
        behind = [str(route.to) for route in config.app_routes if route.via == app.address]
        yield from (f"{field} {address} accept" for address in (str(app.address), *behind))


def _take(app: NamespaceApp, config: NamespaceConfig, where: str) -> tuple[str, ...]:
    """Return what lets addresses pass that an app has taken, or takes now: first come, first served."""
    field, version = TAKEN_FIELDS[where]
    seen = seen_sets(app.name)[version == 6]
    lines = [f"{field} @{seen} update @{seen} {{ {field} }} accept", *_outside(config, field, version)]
    lines += [f"{field} @reserved{version} goto spoofing", f"jump taken-{where}"]
    return (*lines, f"add @{seen} {{ {field} }} accept")


def _taken(apps: Iterable[NamespaceApp], where: str) -> str:
    """Return the chain that drops what is from an address that some app took. What an app took goes with it."""
    field, version = TAKEN_FIELDS[where]
    lines = (f"{field} @{seen_sets(app.name)[version == 6]} goto spoofing" for app in apps)
    return "\n" + indented(chain(f"taken-{where}", list(lines))).rstrip("\n") + "\n"


def _outside(config: NamespaceConfig, field: str, version: int) -> Iterator[str]:
    """Yield what keeps an app from addresses that lie in none of the instance's networks; a switch knows no network."""
    if version == 4 and config.bridge is not None:
        yield f"{field} != {config.bridge.network} goto spoofing"
    if version == 6 and config.bridge is not None:
        networks: list[IPv4Network | IPv6Network] = [LINK_LOCAL]
        networks += [config.bridge6.network] if config.bridge6 is not None else []
        halves = (f"0x{int(network.network_address) >> 64:016x}" for network in networks)
        yield f"{field.replace(',128', ',64')} != {one_of(halves)} goto spoofing"


def own6(app: NamespaceApp) -> tuple[IPv6Address, ...]:
    """Return the addresses that are an app's in any case: by its MAC address on the link, and the planned one."""
    link_local = eui64(LINK_LOCAL, str(app.mac))
    return (link_local, app.address6) if app.address6 is not None else (link_local,)


def raw(address: IPv4Address | IPv6Address) -> str:
    """Write an address as nft does the bytes of a packet: it knows no name for the target of an NS or NA."""
    return f"0x{int(address):032x}"


def _to(app: NamespaceApp, mark: str) -> str:
    """Return the chain of what leaves by an app's port; `mark` is empty where nobody judges it later."""
    unicast = "ether daddr and 01:00:00:00:00:00 == 00:00:00:00:00:00"
    mac = [] if app.any_mac else [f"{unicast} ether daddr != {app.mac} drop"]
    return TO.format(name=app.name, mac=_lines(mac), mark=_lines([TO_MARK.format(mark)] if mark else []))


def _lines(lines: Iterable[str]) -> str:
    return indented(lines, 2)
