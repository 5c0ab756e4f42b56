"""What a rule matches, in nft's words: of the connection, so that it is the same for packets of both directions. Pure.

The end that is connected to is read from what conntrack expects as the answer's source: that is behind a port map's
translation. One rule may need several lines of nft, for a line knows one family of addresses only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from nsmanager.firewall.hosts import host_suffix, set_names
from nsmanager.firewall.numbers import high, low
from nsmanager.firewall.words import one_of
from pubsub.topics import Direction, NamespaceApp, Rule
from pubsub.values import PortRange

ANY_APP = "all"  # in a rule's `apps`
# Numbers, where /etc/protocols of some hosts doesn't know the name.
PROTOCOLS = {"icmp": "icmp", "icmpv6": "58", "tcp": "tcp", "udp": "udp"}


Lines = tuple[tuple[str, int], ...]  # (words, family: 4, 6, or 0 for both)


def matches(
    rule: Rule,
    direction: Direction,
    others: Iterable[NamespaceApp],
    known: Mapping[str, int],
    named: Sequence[IPv4Address | IPv6Address] = (),
) -> tuple[str, ...]:
    """Return the lines of a rule for connections of one direction, each without what is done then; none: never.

    `others` are the other apps of the instance, `known` has all apps' numbers, `named` are the
    addresses of the rule's host that no resolver is asked for.
    """
    which = _other_end(direction)
    found: Lines = (("", 0),)
    if rule.remote:
        found = _both(found, _networks(which, (remote.network for remote in rule.remote)))
    if rule.host:
        found = _both(found, (*_host(which, rule.host), *_addresses(which, named)))
    if rule.apps:
        found = _both(found, tuple(_apps(rule.apps, direction, others, known)))
    first = " ".join(_transport(rule))
    return tuple(" ".join(word for word in (first, words) if word) for words, _ in found)


def _other_end(direction: Direction) -> str:
    """Return in which direction's tuple of conntrack the other end is the source."""
    return "reply" if direction is Direction.OUT else "original"


def _transport(rule: Rule) -> Iterator[str]:
    """Yield protocol and ports: they come first, for nft reads a connection's port by its protocol."""
    protocol = rule.portmap.protocol if rule.portmap is not None else rule.protocol
    if protocol:
        yield f"meta l4proto {PROTOCOLS.get(protocol, protocol)}"
    if rule.portmap is not None:
        yield f"ct status dnat ct original proto-dst {rule.portmap.outer}"
    if rule.ports:
        yield f"ct reply proto-src {one_of(_ports(rule.ports))}"


def _ports(ports: Iterable[PortRange]) -> Iterator[str]:
    """Yield ranges that don't overlap, which nft refuses."""
    joined: list[PortRange] = []
    for port in sorted(ports, key=lambda one: one.first):
        if joined and port.first <= joined[-1].last + 1:
            joined[-1] = PortRange(joined[-1].first, max(joined[-1].last, port.last))
        else:
            joined.append(port)
    return (str(port) for port in joined)


def _networks(which: str, networks: Iterable[IPv4Network | IPv6Network]) -> Lines:
    by_family: dict[int, list[IPv4Network | IPv6Network]] = {4: [], 6: []}
    for network in networks:
        by_family[network.version].append(network)
    return tuple(
        (f"ct {which} {'ip' if family == 4 else 'ip6'} saddr {one_of(_networks_words(found))}", family)
        for family, found in by_family.items()
        if found
    )


def _addresses(which: str, addresses: Iterable[IPv4Address | IPv6Address]) -> Lines:
    return _networks(which, (ipaddress.ip_network(address) for address in addresses))


def _networks_words(networks: Iterable[IPv4Network | IPv6Network]) -> Iterator[str]:
    """Yield networks that don't overlap, which nft refuses; all are of one family."""
    for network in ipaddress.collapse_addresses(networks):  # type: ignore[type-var]  # one family at a time
        yield str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _host(which: str, host: str) -> Lines:
    set4, set6 = set_names(host_suffix(host))
    return ((f"ct {which} ip saddr @{set4}", 4), (f"ct {which} ip6 saddr @{set6}", 6))


def _apps(
    names: tuple[str, ...], direction: Direction, others: Iterable[NamespaceApp], known: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    """Yield how other apps are known: by port, when the opener speaks; by planned addresses in the answers.

    A connection is judged by an answer only where rules have changed since it was opened.
    """
    meant = [other for other in others if {other.name, ANY_APP} & {*names}]
    write, mask = (high, "0xffff0000") if direction is Direction.OUT else (low, "0x0000ffff")
    if meant:
        marks = one_of(sorted(write(known[other.name]) for other in meant))
        yield f"ct direction original meta mark and {mask} {marks}", 0
    addresses = [address for other in meant for address in (other.address, other.address6) if address is not None]
    for words, family in _addresses(_other_end(direction), addresses):
        yield f"ct direction reply {words}", family


def _both(one: Lines, other: Lines) -> Lines:
    """Return the lines that say both."""
    return tuple(
        (f"{words} {more}".strip(), family or wanted)
        for words, family in one
        for more, wanted in other
        if not family or not wanted or family == wanted
    )
