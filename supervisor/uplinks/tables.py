"""One routing table per uplink, and the rules that lead to it: the host's side of every instance's routing.

Tried and explained in docs/design.md, *The packet's way*. In short: the host's own packets skip all of ours, unless
they carry a mark (probes do); what comes from a link without a mark goes nowhere (also when the nft table is gone, and
not even to the host's own end: ARP carries no mark either, so both ends have each other as permanent neighbours); the
host's ends stay local; a mark leads to its uplink's table and to no other, not even `local`, whose rule moves behind
ours. All of it for IPv4 and for IPv6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import msgspec

from nsmanager.items.neighbour import Neighbour
from nsmanager.items.route import Route
from nsmanager.items.rule import Rule
from nsmanager.items.sysctl import Sysctl
from nsmanager.reconcile import Item
from supervisor.facts import Facts, Uplink
from supervisor.items import LocalRule
from supervisor.names import (
    FORWARDING6,
    FORWARDS6,
    MARK_MASK,
    PREF_FAIL_CLOSED,
    PREF_HOST_ENDS,
    PREF_LINKS,
    PREF_LOCAL,
    PREF_OWN_OUTPUT,
    PREF_UPLINKS,
    TABLE_LINKS,
    conf_sysctl,
    mark_table,
    uplink_mark,
)

TABLE_LOCAL = 255  # RT_TABLE_LOCAL
DEFAULTS = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
LAST_METRIC = 4278198272  # of `unreachable default`: behind every route that a host has; as the kernel's v6 one


class Way(msgspec.Struct, frozen=True):
    """A mark and what its table leads by: an uplink, by its own default routes or by a router of its network."""

    mark: int
    uplink: Uplink
    via: IPv4Address | None = None  # None: as the host knows it
    prefixes: tuple[Route, ...] = ()  # of instances that are routed by it without NAT


def uplink_way(uplink: Uplink) -> Way:
    """Return the ordinary way out by an uplink."""
    return Way(uplink_mark(uplink.ifindex), uplink)


def common_rules(pools: Iterable[IPv4Network | IPv6Network]) -> Iterator[Item]:
    """Yield the rules that stand once for each pool of link addresses, however many uplinks and instances there are."""
    for pool in pools:
        family = pool.version
        yield Rule(family=family, priority=PREF_LOCAL, action="lookup", table=TABLE_LOCAL)
        yield Rule(
            family=family, priority=PREF_OWN_OUTPUT, action="goto", target=PREF_LOCAL, iif="lo", mark=0, mask=MARK_MASK
        )
        yield Rule(family=family, priority=PREF_FAIL_CLOSED, action="unreachable", src=pool, mark=0, mask=MARK_MASK)
        yield Rule(family=family, priority=PREF_FAIL_CLOSED, action="unreachable", dst=pool, mark=0, mask=MARK_MASK)
        yield Rule(family=family, priority=PREF_HOST_ENDS, action="lookup", table=TABLE_LOCAL, dst=pool)
        yield Route(to=pool, table=TABLE_LINKS, type="unreachable", metric=LAST_METRIC)
        yield Rule(family=family, priority=PREF_LINKS, action="lookup", table=TABLE_LINKS, dst=pool)


def local_rules_moved(pools: Iterable[IPv4Network | IPv6Network]) -> Iterator[Item]:
    """Yield the items that take the kernel's rules 0 away; after `common_rules`, which hold their replacements."""
    for pool in pools:
        yield LocalRule(replacement=PREF_LOCAL, family=pool.version)


def way_items(ways: Iterable[Way], *, ipv6: bool) -> Iterator[Item]:
    """Yield table and rule of each way."""
    for way in ways:
        yield from table(way, ipv6=ipv6)
        for family in (4, 6) if ipv6 else (4,):
            number = mark_table(way.mark)
            yield Rule(
                family=family, priority=PREF_UPLINKS, action="lookup", table=number, mark=way.mark, mask=MARK_MASK
            )


def borrowed_sysctls(uplinks: Iterable[Uplink], facts: Facts, *, ipv6: bool) -> Iterator[Sysctl]:
    """Yield what is set of links that are not ours, and so given back."""
    uplinks = list(uplinks)
    for uplink in uplinks:
        # Marked packets that come in by it are looked up by their mark also for the reverse path (rp_filter=1).
        yield Sysctl(conf_sysctl(uplink.ifname, "src_valid_mark"), "1")
        yield Sysctl(conf_sysctl(uplink.ifname, "forwarding"), "1")
        if ipv6 and facts.forced6:
            yield Sysctl(conf_sysctl(uplink.ifname, "force_forwarding", 6), "1")
    for ifname in sorted({uplink.ifname for uplink, _ in neighbouring(uplinks)}):
        # Else both answer for each other's address, and what comes for one goes to the other.
        yield Sysctl(conf_sysctl(ifname, "arp_ignore"), "1")
        yield Sysctl(conf_sysctl(ifname, "arp_announce"), "2")
    if ipv6 and not facts.forced6:
        # A host that forwards forgets what it learned by RA, its own default route too, unless it is told not to.
        for uplink in facts.uplinks.values():
            if uplink.accepts_ra:
                yield Sysctl(conf_sysctl(uplink.ifname, "accept_ra", 6), "2")
        yield Sysctl(FORWARDING6, "1" if facts.forwarded6 else FORWARDS6)


def table(way: Way, *, ipv6: bool) -> Iterator[Route]:
    """Yield a way's routes: the uplink's own local addresses, what the main table knows of it, and an end."""
    number, uplink = mark_table(way.mark), way.uplink
    for default in DEFAULTS if ipv6 else DEFAULTS[:1]:
        yield Route(to=default, table=number, type="unreachable", metric=LAST_METRIC)
    if ipv6:
        for prefix in way.prefixes:
            yield msgspec.structs.replace(prefix, table=number)
    if uplink.trouble:
        return
    for address in uplink.addresses:
        yield Route(to=IPv4Network(address.ip), table=number, type="local", dev=uplink.ifname)
    for address6 in uplink.addresses6 if ipv6 else ():
        yield Route(to=IPv6Network(address6.ip), table=number, type="local", dev=uplink.ifname)
    if way.via is not None:
        yield Route(to=IPv4Network(way.via), table=number, dev=uplink.ifname)
        yield Route(to=DEFAULTS[0], table=number, via=way.via, dev=uplink.ifname)
        return
    # Of several by one metric the first counts: two routers that advertise themselves, two next hops.
    routes = {(r.to, r.metric): r for r in reversed(uplink.routes) if ipv6 or r.to.version == 4}
    for route in sorted(
        routes.values(), key=lambda r: (r.to.version, r.via is not None, r.to.prefixlen, r.to, r.metric)
    ):
        yield Route(to=route.to, table=number, via=route.via, dev=uplink.ifname, src=route.src, metric=route.metric)


def neighbours(uplinks: Iterable[Uplink]) -> Iterator[Neighbour]:
    """Yield each uplink's addresses as permanent neighbours of the others in the same network.

    Two uplinks in one network don't find each other by ARP: the kernel takes a question from an address of its own for
    a forged one.
    """
    for uplink, other in neighbouring(uplinks):
        for theirs in other.own:
            if theirs.ip not in [own.ip for own in uplink.own] and any(theirs.ip in own.network for own in uplink.own):
                yield Neighbour(uplink.ifname, theirs.ip, other.mac)


def neighbouring(uplinks: Iterable[Uplink]) -> list[tuple[Uplink, Uplink]]:
    """Return the pairs of uplinks, both ways round, that have addresses in one network."""
    usable = [uplink for uplink in uplinks if not uplink.trouble and uplink.mac]
    return [
        (uplink, other)
        for uplink in usable
        for other in usable
        if other is not uplink and {own.network for own in uplink.own} & {theirs.network for theirs in other.own}
    ]
