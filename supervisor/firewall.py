"""The host's nft table: binds instances to uplinks by mark, leads port maps in, and drops all else from our links.

The forward chain's policy stays accept: a drop there would block whatever else runs on the host (docker, libvirt). All
that touches a link of ours (they carry one group) is dropped unless a rule allows it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from nsmanager.marks import LINK_GROUP
from pubsub.values import PortMap
from supervisor.facts import Uplink
from supervisor.names import MARK_HOST, uplink_mark


@dataclasses.dataclass(frozen=True)
class Bound:
    """One instance as the host's table sees it."""

    link: str  # ifname of the host's end
    host_end: IPv4Address
    inner_end: IPv4Address
    subnet: IPv4Network
    uplink: Uplink | None  # None: bound to none, reaches nothing
    portmaps: tuple[PortMap, ...] = ()


def host_table(bound: Iterable[Bound], uplinks: Iterable[Uplink]) -> str:
    """Return the body of the host's table for the instances and the uplinks that they use."""
    bound, uplinks = tuple(bound), tuple(uplinks)
    return "\n".join([*sets(bound, uplinks), *map(collision, bound), *CHAINS]) + "\n"


def sets(bound: tuple[Bound, ...], uplinks: tuple[Uplink, ...]) -> list[str]:
    """Return the sets and maps: all that differs between two hosts; the chains are always the same."""
    marks = {uplink.ifname: f"0x{uplink_mark(uplink.ifindex):x}" for uplink in uplinks}
    mapped = [
        (marks[b.uplink.ifname], b.uplink, address.ip, portmap, b.inner_end)
        for b in bound
        if b.uplink
        for address in b.uplink.addresses
        for portmap in b.portmaps
    ]
    return [
        block(
            "map uplink_of", "type ifname : mark", (f'"{b.link}" : {marks[b.uplink.ifname]}' for b in bound if b.uplink)
        ),
        block("map mark_of", "type ifname : mark", (f'"{name}" : {mark}' for name, mark in marks.items())),
        block("set marks", "type mark", (f"0x{MARK_HOST:x}", *marks.values())),
        block("set ways_out", "typeof meta mark . oifname", (f'{mark} . "{name}"' for name, mark in marks.items())),
        block("set uplinks", "type ifname", (f'"{name}"' for name in marks)),
        block("set guarded", "type ifname", (f'"{u.ifname}"' for u in uplinks if not u.forwarded)),
        block("set link_addresses", "typeof iifname . ip saddr", (f'"{b.link}" . {b.inner_end}' for b in bound)),
        block("set own_links", "typeof iifname . oifname", (f'"{b.link}" . "{b.link}"' for b in bound)),
        block("map collisions", "type ifname : verdict", (f'"{b.link}" : jump {collision_chain(b)}' for b in bound)),
        block("set link_ends", "typeof iifname . ip daddr", (f'"{b.link}" . {b.host_end}' for b in bound)),
        block(
            "map resolvers",
            "type mark : ipv4_addr",
            (f"{marks[u.ifname]} : {u.resolvers[0]}" for u in uplinks if u.resolvers),
        ),
        block(
            "set uplink_addresses",
            "typeof meta mark . ip daddr",
            (f"{marks[u.ifname]} . {address.ip}" for u in uplinks for address in u.addresses),
        ),
        block(
            "set claims",
            "typeof iifname . ip daddr . meta l4proto . th dport",
            (f'"{u.ifname}" . {address} . {p.protocol} . {p.outer}' for _, u, address, p, _ in mapped),
        ),
        block(
            "map port_maps",
            "typeof meta mark . meta l4proto . th dport : ip daddr . th dport",
            (f"{mark} . {p.protocol} . {p.outer} : {inner} . {p.outer}" for mark, _, _, p, inner in mapped),
        ),
        block(
            "set host_claims",
            "typeof ip daddr . meta l4proto . th dport",
            (f"{address} . {p.protocol} . {p.outer}" for _, _, address, p, _ in mapped),
        ),
        block(
            "map host_port_maps",
            "typeof ip daddr . meta l4proto . th dport : ip daddr . th dport",
            (f"{address} . {p.protocol} . {p.outer} : {inner} . {p.outer}" for _, _, address, p, inner in mapped),
        ),
    ]


def collision(bound: Bound) -> str:
    """Return the chain that masquerades what comes to an instance from an address of its own subnet.

    A chain each, led to by a map: libnftables 1.0.6 corrupts its memory when it reads the elements of an interval set
    that concatenates ifname and address.
    """
    return f"  chain {collision_chain(bound)} {{ ip saddr {bound.subnet} masquerade; }}"


def collision_chain(bound: Bound) -> str:
    return f"into_{bound.link}"


def block(head: str, kind: str, elements: Iterable[str]) -> str:
    """Return one set or map in nft's grammar; each element once, in the given order."""
    listed = ", ".join(dict.fromkeys(elements))
    return f"  {head} {{ {kind};{f' elements = {{ {listed} }};' if listed else ''} }}"


OURS_IN = f"iifgroup {LINK_GROUP}"
OURS_OUT = f"oifgroup {LINK_GROUP}"

CHAINS = f"""\
  chain prerouting {{ type filter hook prerouting priority mangle; policy accept;
    {OURS_IN} meta nfproto ipv6 drop
    {OURS_IN} iifname . ip saddr != @link_addresses drop
    ct direction reply ct mark @marks meta mark set ct mark accept
    iifname . ip daddr . meta l4proto . th dport @claims meta mark set iifname map @mark_of ct mark set meta mark accept
    {OURS_IN} meta mark set iifname map @uplink_of ct mark set meta mark
  }}
  chain nat_prerouting {{ type nat hook prerouting priority dstnat; policy accept;
    iifname . ip daddr @link_ends meta l4proto {{ tcp, udp }} th dport 53 dnat ip to meta mark map @resolvers
    meta mark . ip daddr @uplink_addresses dnat ip to meta mark . meta l4proto . th dport map @port_maps
  }}
  chain nat_output {{ type nat hook output priority -100; policy accept;
    ip daddr . meta l4proto . th dport @host_claims ct mark set 0x{MARK_HOST:x} \
dnat ip to ip daddr . meta l4proto . th dport map @host_port_maps
  }}
  chain nat_postrouting {{ type nat hook postrouting priority srcnat; policy accept;
    oifname vmap @collisions
    iifname . oifname @own_links masquerade
    {OURS_IN} oifname @uplinks masquerade
  }}
  chain forwarding {{ type filter hook forward priority filter; policy accept;
    {OURS_IN} ct state invalid drop
    {OURS_OUT} ct state established,related accept
    {OURS_IN} oifname @uplinks meta mark . oifname != @ways_out drop
    {OURS_IN} ct state established,related accept
    {OURS_OUT} ct status dnat accept
    {OURS_OUT} drop
    {OURS_IN} oifname @uplinks accept
    {OURS_IN} drop
    iifname @uplinks oifname @uplinks drop
    iifname @guarded ct state new drop
  }}
  chain incoming {{ type filter hook input priority filter; policy accept;
    {OURS_IN} ct state established,related accept
    {OURS_IN} icmp type echo-request limit rate 5/second accept
    {OURS_IN} drop
  }}""".splitlines()
