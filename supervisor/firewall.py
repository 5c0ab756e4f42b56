"""The host's nft table: binds instances to uplinks by mark, leads port maps in, and drops all else from our links.

The forward chain's policy stays accept: a drop there would block whatever else runs on the host (docker, libvirt). All
that touches a link of ours (they carry one group) is dropped unless a rule allows it. The chains are the same on every
host; what differs are the elements of sets and maps, so that a failover changes elements only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec

from nsmanager.firewall.admission import FIRST, FROM_LINK, LINKS, TO_LINK
from nsmanager.firewall.words import chain, indented
from nsmanager.items.nftables import NftTable
from nsmanager.marks import LINK_GROUP, NFT_TABLE
from pubsub.values import PortMap
from supervisor.facts import Uplink
from supervisor.names import MARK_HOST, uplink_mark
from supervisor.uplinks.tables import Way


class Bound(msgspec.Struct, frozen=True):
    """One instance as the host's table sees it."""

    link: str  # ifname of the host's end
    host_end: IPv4Address
    inner_end: IPv4Address
    subnet: IPv4Network
    uplink: Uplink | None  # None: bound to none, reaches nothing
    portmaps: tuple[tuple[PortMap, Uplink], ...] = ()
    inner_end6: IPv6Address | None = None  # None: no IPv6
    subnet6: IPv6Network | None = None
    routed6: bool = False  # its prefix goes out without NAT
    shared: tuple[Way, ...] = ()  # several: its connections are spread over them
    routes: tuple[tuple[IPv4Network, Way | None], ...] = ()  # destinations that go another way; None: nowhere now
    connections: int = 65536  # tracked for it at a time
    neighbours: int = 1024  # of the host's, that may be its doing, of each family


def host_table(bound: Iterable[Bound], uplinks: Iterable[Uplink], ways: Iterable[Way], *, guard6: bool) -> NftTable:
    """Return the host's table. `uplinks`: those in use; `ways`: these and static routes'.

    `guard6`: the host didn't forward IPv6 before us, and must not begin to for strangers.
    """
    bound, uplinks, ways = tuple(bound), tuple(uplinks), tuple(ways)
    elements = {**bindings(bound, uplinks, ways), **claims(bound, uplinks)}
    chains = [line for one in bound for line in own_chains(one)]
    limits = [*limiting(bound)]
    text = "\n".join([*DECLARATIONS, *chains, *limits, *CHAINS, *(GUARD6 if guard6 else ())]) + "\n"
    listed = tuple((name, tuple(dict.fromkeys(elements[name]))) for name in sorted(elements))
    return NftTable(family="inet", name=NFT_TABLE, text=text, elements=listed, kept=tuple(kept(bound)))


def mark(uplink: Uplink) -> str:
    return f"0x{uplink_mark(uplink.ifindex):x}"


def bindings(bound: tuple[Bound, ...], uplinks: tuple[Uplink, ...], ways: tuple[Way, ...]) -> dict[str, Iterable[str]]:
    """Return who is bound to what: the elements that know links and uplinks."""
    return {
        "uplink_of": (f'"{b.link}" : {mark(b.uplink)}' for b in bound if b.uplink),
        "own_ways": (f'"{b.link}" : jump way_{b.link}' for b in bound if has_ways(b)),
        "mark_of": (f'"{u.ifname}" : {mark(u)}' for u in uplinks),
        "marks": (f"0x{MARK_HOST:x}", *(f"0x{way.mark:x}" for way in ways)),
        "ways_out": (f'0x{way.mark:x} . "{way.uplink.ifname}"' for way in ways),
        "uplinks": (f'"{u.ifname}"' for u in uplinks),
        "guarded": (f'"{u.ifname}"' for u in uplinks if not u.forwarded),
        "link_addresses": (f'"{b.link}" . {b.inner_end}' for b in bound),
        "link_addresses6": (f'"{b.link}" . {b.inner_end6}' for b in bound if b.inner_end6),
        "routed": (f'"{b.link}" : goto from_{b.link}' for b in bound if b.routed6),
        "opens": (f'"{b.link}" : jump opens-{b.connections}-{b.neighbours}' for b in bound),
        "opened": (f'"{b.link}" : jump opened-{b.connections}' for b in bound),
        "own_links": (f'"{b.link}" . "{b.link}"' for b in bound),
        "collisions": (f'"{b.link}" : jump into_{b.link}' for b in bound),
        "link_ends": (f'"{b.link}" . {b.host_end}' for b in bound),
        "resolvers": (f"0x{way.mark:x} : {way.uplink.resolvers[0]}" for way in ways if way.uplink.resolvers),
        "uplink_addresses": (f"{mark(u)} . {a.ip}" for u in uplinks for a in u.addresses),
        # No masquerade: it may take the address of another uplink (RFC 6724 prefers scope and more to the link).
        "sources6": (f'"{u.ifname}" : {u.source6}' for u in uplinks if u.source6),
        # What an instance sent out and in again; of IPv4 the kernel drops it as martian by itself.
        "own_addresses6": (f"{a.ip}" for u in uplinks for a in u.addresses6),
        "uplink_addresses6": (f"{mark(u)} . {a.ip}" for u in uplinks for a in u.addresses6),
    }


def claims(bound: tuple[Bound, ...], uplinks: tuple[Uplink, ...]) -> dict[str, list[str]]:
    """Return the port maps: the elements that know outer addresses and ports."""
    known = {u.ifname for u in uplinks}
    found: dict[str, list[str]] = {
        f"{name}{suffix}": []
        for name in ("claims", "port_maps", "host_claims", "host_port_maps")
        for suffix in ("", "6")
    }
    for b in bound:
        for port, uplink in b.portmaps:
            if uplink.ifname not in known:
                continue
            outer = f"{port.protocol} . {port.outer}"
            ends: list[tuple[str, IPv4Address | IPv6Address]] = [("", b.inner_end)]
            ends += [("6", b.inner_end6)] if b.inner_end6 else []
            for suffix, inner in ends:
                to = f"{inner} . {port.outer}"
                addresses = uplink.addresses6 if suffix else uplink.addresses
                found["port_maps" + suffix].append(f"{mark(uplink)} . {outer} : {to}")
                for address in addresses:
                    found["claims" + suffix].append(f'"{uplink.ifname}" . {address.ip} . {outer}')
                    found["host_claims" + suffix].append(f"{address.ip} . {outer}")
                    found["host_port_maps" + suffix].append(f"{address.ip} . {outer} : {to}")
    for name in ("host_port_maps", "host_port_maps6"):  # of two uplinks with one address the first counts
        found[name] = list({one.partition(" : ")[0]: one for one in reversed(found[name])}.values())[::-1]
    return found


def limiting(bound: Iterable[Bound]) -> Iterator[str]:
    """Yield the chains that new connections meet, of each limit that an instance has: few, as most have the same."""
    found: dict[str, Iterable[str]] = {}
    for b in bound:
        hop = [f"meta nfproto ipv4 goto near4-{b.neighbours}", f"goto near6-{b.neighbours}"]
        found[f"opens-{b.connections}-{b.neighbours}"] = [*FROM_LINK.connections(b.connections), *hop]
        found[f"opened-{b.connections}"] = TO_LINK.connections(b.connections)
        found[f"near4-{b.neighbours}"] = FROM_LINK.neighbours(b.neighbours, "ip")
        found[f"near6-{b.neighbours}"] = FROM_LINK.neighbours(b.neighbours, "ip6")
    for name in sorted(found):
        yield indented(chain(name, found[name])).rstrip("\n").expandtabs(2)


def kept(bound: Iterable[Bound]) -> Iterator[str]:
    """Yield the declarations of what counts for these limits, and lives on when the table changes."""
    bound = tuple(bound)
    for connections in sorted({b.connections for b in bound}):
        yield from FROM_LINK.kept(connections)
    for neighbours in sorted({b.neighbours for b in bound}):
        yield from FROM_LINK.kept_near(neighbours)
    yield from FROM_LINK.near_sets()
    yield from (f"set {name} {{ type ifname; size {LINKS}; flags dynamic; }}" for name in REFUSED)


def has_ways(bound: Bound) -> bool:
    """Tell whether an instance's packets don't all go the selected way."""
    return bool(bound.routes) or len(bound.shared) > 1


def own_chains(bound: Bound) -> Iterator[str]:
    """Yield the chains of one instance, each led to by a map.

    No sets of link and network instead: libnftables 1.0.6 corrupts its memory when it reads the elements of an interval
    set that concatenates ifname and address.
    """
    collide = f"ip saddr {bound.subnet} masquerade;"
    if bound.subnet6:
        collide += f" ip6 saddr {bound.subnet6} masquerade;"
    yield f"  chain into_{bound.link} {{ {collide} }}"
    if bound.routed6:
        yield f"  chain from_{bound.link} {{ ip6 saddr != {bound.subnet6} drop; }}"
    if has_ways(bound):
        deal = f"numgen inc mod {len(bound.shared)}"
        if len(bound.shared) > 1:
            choice = ", ".join(f"{index} : 0x{way.mark:x}" for index, way in enumerate(bound.shared))
            yield f"  map shares_{bound.link} {{ typeof {deal} : meta mark; elements = {{ {choice} }} }}"
        yield f"  chain way_{bound.link} {{"
        longest_first = sorted(bound.routes, key=lambda route: (-route[0].prefixlen, route[0]))
        for to, way in longest_first:
            binding = f"meta mark set 0x{way.mark:x} ct mark set meta mark" if way else "meta mark set 0x0"
            yield f"    ip daddr {to} {binding} accept"
        if len(bound.shared) > 1:
            yield "    ct state established,related ct mark @marks meta mark set ct mark accept"
            yield f"    meta mark set {deal} map @shares_{bound.link} ct mark set meta mark accept"
        yield "  }"


DECLARATIONS = """\
  map uplink_of { type ifname : mark; }
  map own_ways { type ifname : verdict; }
  map mark_of { type ifname : mark; }
  set marks { type mark; }
  set ways_out { typeof meta mark . oifname; }
  set uplinks { type ifname; }
  set guarded { type ifname; }
  set link_addresses { typeof iifname . ip saddr; }
  set link_addresses6 { typeof iifname . ip6 saddr; }
  map routed { type ifname : verdict; }
  map opens { type ifname : verdict; }
  map opened { type ifname : verdict; }
  set own_links { typeof iifname . oifname; }
  map collisions { type ifname : verdict; }
  set link_ends { typeof iifname . ip daddr; }
  map resolvers { type mark : ipv4_addr; }
  set uplink_addresses { typeof meta mark . ip daddr; }
  set uplink_addresses6 { typeof meta mark . ip6 daddr; }
  set own_addresses6 { type ipv6_addr; }
  map sources6 { type ifname : ipv6_addr; }
  set claims { typeof iifname . ip daddr . meta l4proto . th dport; }
  set claims6 { typeof iifname . ip6 daddr . meta l4proto . th dport; }
  map port_maps { type mark . inet_proto . inet_service : ipv4_addr . inet_service; }
  map port_maps6 { type mark . inet_proto . inet_service : ipv6_addr . inet_service; }
  set host_claims { typeof ip daddr . meta l4proto . th dport; }
  set host_claims6 { typeof ip6 daddr . meta l4proto . th dport; }
  map host_port_maps { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map host_port_maps6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }""".splitlines()

REFUSED = ("refused-connections", "refused-neighbours")  # sets: link -> counter of what was over a limit
OURS_IN = f"iifgroup {LINK_GROUP}"
OURS_OUT = f"oifgroup {LINK_GROUP}"
CLAIMED = "meta mark set iifname map @mark_of ct mark set meta mark accept"
CLAMP = "tcp flags syn tcp option maxseg size set rt mtu"

CHAINS = f"""\
  chain refusing {{
    {OURS_OUT} add @refused-connections {{ oifname counter }} drop
    add @refused-connections {{ iifname counter }} drop
  }}
  chain too-near {{
    add @refused-neighbours {{ iifname counter }} drop
  }}
  chain routed_sources {{
    iifname vmap @routed
    drop
  }}
  chain from_link {{
    meta nfproto ipv4 iifname . ip saddr != @link_addresses drop
    meta nfproto ipv6 iifname . ip6 saddr != @link_addresses6 jump routed_sources
    ct direction reply ct mark @marks meta mark set ct mark accept
    iifname vmap @own_ways
    meta mark set iifname map @uplink_of ct mark set meta mark
  }}
  chain prerouting {{ type filter hook prerouting priority mangle; policy accept;
    {OURS_IN} goto from_link
    ct direction reply ct mark @marks meta mark set ct mark accept
    iifname . ip daddr . meta l4proto . th dport @claims {CLAIMED}
    iifname . ip6 daddr . meta l4proto . th dport @claims6 {CLAIMED}
  }}
  chain marked_output {{ type filter hook output priority mangle; policy accept;
    meta mark @marks ct mark set meta mark
  }}
  chain nat_prerouting {{ type nat hook prerouting priority dstnat; policy accept;
    iifname . ip daddr @link_ends meta l4proto {{ tcp, udp }} th dport 53 dnat ip to meta mark map @resolvers
    meta mark . ip daddr @uplink_addresses dnat ip to meta mark . meta l4proto . th dport map @port_maps
    meta mark . ip6 daddr @uplink_addresses6 dnat ip6 to meta mark . meta l4proto . th dport map @port_maps6
  }}
  chain nat_output {{ type nat hook output priority -100; policy accept;
    ip daddr . meta l4proto . th dport @host_claims ct mark set 0x{MARK_HOST:x} \
dnat ip to ip daddr . meta l4proto . th dport map @host_port_maps
    ip6 daddr . meta l4proto . th dport @host_claims6 ct mark set 0x{MARK_HOST:x} \
dnat ip6 to ip6 daddr . meta l4proto . th dport map @host_port_maps6
  }}
  chain nat_postrouting {{ type nat hook postrouting priority srcnat; policy accept;
    oifname vmap @collisions
    iifname . oifname @own_links masquerade
    {OURS_IN} meta nfproto ipv4 oifname @uplinks masquerade
    {OURS_IN} iifname . ip6 saddr @link_addresses6 oifname @uplinks snat ip6 to oifname map @sources6
    {OURS_IN} iifname . ip6 saddr @link_addresses6 oifname @uplinks drop
  }}
  chain outwards {{
    ct state invalid drop
    {FIRST} iifname vmap @opens
    {CLAMP}
    {OURS_OUT} goto inwards
    meta mark . oifname @ways_out accept
    oifname @uplinks drop
    ct state established,related accept
    drop
  }}
  chain inwards {{
    {CLAMP}
    ct state established,related accept
    ct status dnat {FIRST} oifname vmap @opened
    ct status dnat accept
    drop
  }}
  chain forwarding {{ type filter hook forward priority filter; policy accept;
    {OURS_IN} goto outwards
    {OURS_OUT} goto inwards
    iifname @uplinks oifname @uplinks drop
    meta nfproto ipv4 iifname @guarded ct state new drop
  }}
  chain incoming {{ type filter hook input priority filter; policy accept;
    iifname @uplinks ip6 saddr @own_addresses6 drop
    {OURS_IN} ct state established,related accept
    {OURS_IN} icmp type echo-request limit rate 5/second accept
    {OURS_IN} icmpv6 type echo-request limit rate 5/second accept
    {OURS_IN} drop
  }}""".splitlines()

GUARD6 = f"""\
  chain guarding6 {{ type filter hook forward priority filter; policy accept;
    meta nfproto ipv6 iifgroup != {LINK_GROUP} oifgroup != {LINK_GROUP} ct state new drop
  }}""".splitlines()
