"""One routing table per uplink, and the rules that lead to it: the host's side of every instance's routing.

Tried and explained in docs/design.md, *The packet's way*. In short: the host's own packets skip all of ours; what comes
from a link without a mark goes nowhere (also when the nft table is gone, and not even to the host's own end: ARP
carries no mark either, so the instances have it as a permanent neighbour); the host's ends stay local; a mark leads to
its uplink's table and to no other, not even `local`, whose rule moves behind ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network

from nsmanager.items.route import Route
from nsmanager.items.rule import Rule
from nsmanager.items.sysctl import Sysctl
from nsmanager.reconcile import Item
from supervisor.facts import Uplink
from supervisor.items import LocalRule
from supervisor.names import (
    MARK_MASK,
    PREF_FAIL_CLOSED,
    PREF_HOST_ENDS,
    PREF_LINKS,
    PREF_LOCAL,
    PREF_OWN_OUTPUT,
    PREF_UPLINKS,
    TABLE_LINKS,
    conf_sysctl,
    uplink_mark,
    uplink_table,
)

TABLE_LOCAL = 255  # RT_TABLE_LOCAL
DEFAULT = IPv4Network("0.0.0.0/0")
LAST_METRIC = 4278198272  # of `unreachable default`: behind every route that a host has; as the kernel's v6 one


def common_rules(link_pool: IPv4Network) -> Iterator[Item]:
    """Yield the rules that stand once, however many uplinks and instances there are."""
    yield Rule(priority=PREF_LOCAL, action="lookup", table=TABLE_LOCAL)
    yield Rule(priority=PREF_OWN_OUTPUT, action="goto", target=PREF_LOCAL, iif="lo")
    yield Rule(priority=PREF_FAIL_CLOSED, action="unreachable", src=link_pool, mark=0, mask=MARK_MASK)
    yield Rule(priority=PREF_HOST_ENDS, action="lookup", table=TABLE_LOCAL, dst=link_pool)
    yield Rule(priority=PREF_LINKS, action="lookup", table=TABLE_LINKS, dst=link_pool)


def local_rule_moved() -> Item:
    """Return the item that takes the kernel's rule 0 away; after `common_rules`, which hold its replacement."""
    return LocalRule(replacement=PREF_LOCAL)


def uplink_items(uplinks: Iterable[Uplink]) -> Iterator[Item]:
    """Yield sysctls, table and rule of each uplink in use."""
    for uplink in uplinks:
        yield from uplink_sysctls(uplink)
        yield from table(uplink)
        mark = uplink_mark(uplink.ifindex)
        number = uplink_table(uplink.ifindex)
        yield Rule(priority=PREF_UPLINKS, action="lookup", table=number, mark=mark, mask=MARK_MASK)


def uplink_sysctls(uplink: Uplink) -> Iterator[Sysctl]:
    """Yield what is set of a link that is not ours, and so given back."""
    # Marked packets that come in by it are looked up by their mark also for the reverse path (rp_filter=1).
    yield Sysctl(conf_sysctl(uplink.ifname, "src_valid_mark"), "1")
    yield Sysctl(conf_sysctl(uplink.ifname, "forwarding"), "1")


def table(uplink: Uplink) -> Iterator[Route]:
    """Yield the uplink's routes: its own local addresses, what the main table knows of it, and an end."""
    number = uplink_table(uplink.ifindex)
    yield Route(to=DEFAULT, table=number, type="unreachable", metric=LAST_METRIC)
    if uplink.trouble:
        return
    for address in uplink.addresses:
        yield Route(to=IPv4Network(address.ip), table=number, type="local", dev=uplink.ifname)
    for route in sorted(uplink.routes, key=lambda r: (r.via is not None, r.to, r.metric)):
        yield Route(to=route.to, table=number, via=route.via, dev=uplink.ifname, src=route.src, metric=route.metric)
