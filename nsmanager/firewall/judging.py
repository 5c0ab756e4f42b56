"""The apps' rules in `table inet nsvisor`, of an instance in which some app has any, or flows are logged. Pure.

A packet's mark names the app that sent it (lower half) and, where it is switched, the app it goes to (upper half);
`table bridge nsvisor` writes both. A connection's mark says which rule of the app that opened it let it pass (lower
half), and which of the app that it was opened to (upper half). A half that isn't one of that very app's rules in force
is judged anew: so each rule is asked once for a connection, and what a packet costs doesn't grow with their number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from nsmanager.firewall.entries import DEFAULT, AppEntries, Entry, counter_name, limit_words, watched
from nsmanager.firewall.limits import OPENING
from nsmanager.firewall.numbers import high, low
from nsmanager.firewall.words import chain, indented, map_of
from nsmanager.marks import DROP_BYTES, DROP_GROUP
from pubsub.topics import Action, NamespaceConfig

CONTENT_LENGTH = 12  # hexadecimal digits of a chain's content in its name

LOG_TO = f"group {DROP_GROUP} snaplen {DROP_BYTES}"

# What switched packets of an app with rules are allowed in any case: who is on the link, and who gives addresses.
# Answers of servers and routers that are apps don't get this far: the bridge's table drops them.
NEIGHBOURS = "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert"  # RFC 4861
LISTENERS = "mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report"  # RFC 3810
ALWAYS = (
    f"icmpv6 type {{ {NEIGHBOURS}, {LISTENERS} }} accept",
    "udp sport 68 udp dport 67 accept",
    "udp sport 67 udp dport 68 accept",
    "udp sport 546 udp dport 547 accept",
    "udp sport 547 udp dport 546 accept",
)
# In `forward`, first: packets between ports of the bridge.
BRIDGED = "meta mark and 0xffff0000 != 0x00000000 goto bridged"
# After `forward`: `table bridge nsvisor` sees by it that a switched packet came by here.
JUDGED = (
    "type filter hook forward priority 10; policy accept;",
    "meta mark set meta mark and 0x0000ffff",
)
# Without a connection there is no mark to compare: such packets would slip through.
UNTRACKED = "ct state invalid,untracked drop"


Blocks = tuple[tuple[str, tuple[str, ...]], ...]  # heads, as `chain x`, and contents


def kept(apps: Sequence[AppEntries]) -> Iterator[str]:
    """Yield the declarations of counters and limits, which live on when the rules change."""
    for one in apps:
        if one.ruled:
            yield from (f"counter {entry.met} {{ }}" for entry in one.entries)
            yield f"counter {counter_name(one.app.name, DEFAULT)} {{ }}"
    for entry in _limited(apps):
        assert entry.rule.limit is not None
        yield f"counter {entry.over} {{ }}"
        yield f"limit {entry.limit} {{ {limit_words(entry.rule.limit, entry.rule.burst)}; }}"


def blocks(config: NamespaceConfig, apps: Sequence[AppEntries]) -> Blocks:
    """Return the chains, sets and maps that grow with the rules; their names change with their content."""
    return tuple(_named(config, apps).values()) if watched(config) else ()


def chains(config: NamespaceConfig, apps: Sequence[AppEntries]) -> str:
    """Return all that `inwards`, `outwards` and `bridged` need; the chain `forward` leads to these."""
    found = _named(config, apps)
    lines = [*_maps(apps), *_passed(found)]
    for one in apps:
        lines += _checks(one, found)
    lines += chain("leaving", ["meta mark and 0x0000ffff vmap @leaving"])
    lines += chain("arriving", ["meta mark and 0xffff0000 vmap @arriving"])
    lines += chain("arriving-routed", list(_by_address(apps)))
    lines += chain("outwards", ["jump leaving", "goto passed"])
    lines += chain("inwards", ["jump arriving-routed", "goto passed"])
    lines += chain("bridged", [*ALWAYS, UNTRACKED, "jump leaving", "jump arriving", "goto passed"])
    lines += chain("judged", list(JUDGED))
    lines += chain("by-app", [*_by_app(config, apps), "goto passed"]) if config.app_routes else []
    return "\n" + indented(lines).rstrip("\n") + "\n"


def _named(config: NamespaceConfig, apps: Sequence[AppEntries]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the blocks by what they are called but for their content."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}

    def add(head: str, lines: Iterable[str]) -> None:
        content = tuple(lines)
        words = hashlib.sha256("\n".join(content).encode()).hexdigest()[:CONTENT_LENGTH]
        found[head] = (f"{head}-{words}", content)

    for one in apps:
        for head, lines in _rules(config, one):
            add(head, lines)
        for which, write in (("out", low), ("in", high)):
            add(f"set {which}-ids-{one.app.name}", ["type mark", *(write(number) for number in one.numbers)])
    for entry in _limited(apps):
        add(f"chain {entry.over}", [_dropped(entry.over, _log(config, entry))])
    for way, write in (("out", low), ("in", high)):
        entries = [(entry, write(entry.number)) for one in apps for entry in one.entries if _lines(entry, way)]
        allowing = [(entry, mark) for entry, mark in entries if entry.rule.action is Action.ALLOW]
        limited = [(entry, mark) for entry, mark in allowing if entry.rule.limit is not None]
        add(f"map {way}-counters", ["type mark : counter", *(f'{mark} : "{entry.met}"' for entry, mark in allowing)])
        if limited:
            add(f"map {way}-limits", ["type mark : limit", *(f'{mark} : "{entry.limit}"' for entry, mark in limited)])
            over = (f"{mark} : goto {_name(found, f'chain {entry.over}')}" for entry, mark in limited)
            add(f"map {way}-over", ["type mark : verdict", *over])
    return found


def _name(found: Mapping[str, tuple[str, object]], head: str) -> str:
    """Return a block's name as it is in nft."""
    return found[head][0].split()[1]


def _lines(entry: Entry, way: str) -> tuple[str, ...]:
    return entry.out if way == "out" else entry.into


def _maps(apps: Sequence[AppEntries]) -> Iterator[str]:
    yield from map_of("leaving", "mark : verdict", (f"{low(one.number)} : goto from-{one.app.name}" for one in apps))
    yield from map_of("arriving", "mark : verdict", (f"{high(one.number)} : goto to-{one.app.name}" for one in apps))
    found = (f"{one.app.address} : goto to-{one.app.name}" for one in apps if one.app.address is not None)
    yield from map_of("arriving4", "ipv4_addr : verdict", found)
    found = (f"{one.app.address6} : goto to-{one.app.name}" for one in apps if one.app.address6 is not None)
    yield from map_of("arriving6", "ipv6_addr : verdict", found)


def _passed(found: Mapping[str, tuple[str, object]]) -> Iterator[str]:
    """Yield the chain in which what may pass is counted and limited."""
    halves = (("out", "0x0000ffff"), ("in", "0xffff0000"))
    lines = [OPENING]
    lines += [f"counter name ct mark and {mask} map @{_name(found, f'map {way}-counters')}" for way, mask in halves]
    for way, mask in halves:
        if f"map {way}-limits" in found:
            limits, over = _name(found, f"map {way}-limits"), _name(found, f"map {way}-over")
            lines.append(f"limit name ct mark and {mask} map @{limits} ct mark and {mask} vmap @{over}")
    yield from chain("passed", [*lines, "accept"])


def _rules(config: NamespaceConfig, one: AppEntries) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield an app's chains, of what it opens and what is opened to it: `return` lets pass, as far as it goes."""
    name = one.app.name
    log = f'log prefix "{name}/{DEFAULT}" {LOG_TO}' if config.log.flows else ""
    for way, mask, write in (("out", "0xffff0000", low), ("in", "0x0000ffff", high)):
        lines = []
        if not one.ruled:
            lines.append(f"ct mark set ct mark and {mask} or {write(one.free)} return")
        for entry in one.entries:
            verdict = f"ct mark set ct mark and {mask} or {write(entry.number)} return"
            if entry.rule.action is Action.DROP:
                verdict = _dropped(entry.met, _log(config, entry))
            lines += [f"{line} {verdict}".lstrip() for line in _lines(entry, way)]
        if one.ruled:
            lines.append(_dropped(counter_name(name, DEFAULT), log))
        yield f"chain {way}-{name}", tuple(lines)


def _checks(one: AppEntries, found: Mapping[str, tuple[str, object]]) -> Iterator[str]:
    """Yield the chains that ask whether a packet's connection was judged by this app's rules as they are now.

    Numbers of both halves are kept as they are compared; an app opens a connection, or answers in it.
    """
    name = one.app.name
    opens, is_opened_to = (
        f"ct mark and {mask} != @{_name(found, f'set {way}-ids-{name}')} goto {_name(found, f'chain {way}-{name}')}"
        for way, mask in (("out", "0x0000ffff"), ("in", "0xffff0000"))
    )
    yield from chain(f"from-{name}", [f"ct direction original {opens}", f"ct direction reply {is_opened_to}"])
    yield from chain(f"to-{name}", [f"ct direction original {is_opened_to}", f"ct direction reply {opens}"])


def _by_address(apps: Sequence[AppEntries]) -> Iterator[str]:
    """Yield how a routed packet finds the app it goes to: by its planned address.

    To another address only answers pass, and those to an app with rules not while it must be judged anew. Of IPv4 that
    is one of DHCP's, whose app has no rules.
    """
    ruled = [one for one in apps if one.ruled]
    yield "ip daddr vmap @arriving4"
    yield "ip6 daddr vmap @arriving6"
    if ruled:
        numbers = [low(number) for one in apps for number in one.numbers]
        known = f"{{ {', '.join(numbers)} }}"
        unknown = "" if any(one.app.address is None for one in ruled) else "meta nfproto ipv6 "
        yield f"{unknown}ct direction original drop"
        yield f"{unknown}ct mark and 0x0000ffff != {known} drop" if numbers else f"{unknown}drop"


def _by_app(config: NamespaceConfig, apps: Sequence[AppEntries]) -> Iterator[str]:
    """Yield how packets that are routed by an app find it."""
    yield "jump leaving"
    by_address = {one.app.address: one.app.name for one in apps}
    for route in config.app_routes:
        if route.via in by_address:
            yield f"ip daddr {route.to} jump to-{by_address[route.via]}"


def _limited(apps: Iterable[AppEntries]) -> Iterator[Entry]:
    for one in apps:
        for entry in one.entries:
            if entry.rule.limit is not None and entry.rule.action is Action.ALLOW:
                yield entry


def _dropped(counter: str, log: str) -> str:
    return " ".join(word for word in (f'counter name "{counter}"', log, "drop") if word)


def _log(config: NamespaceConfig, entry: Entry) -> str:
    return f'log prefix "{entry.label}" {LOG_TO}' if config.log.flows else ""
