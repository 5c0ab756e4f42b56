"""The apps' rules in `table inet nsvisor`, of an instance in which some app has any, or flows are logged. Pure.

A packet's mark names the app that sent it (lower half) and, where it is switched, the app it goes to (upper half);
`table bridge nsvisor` writes both. A connection's mark says which rule of the app that opened it let it pass (lower
half), and which of the app that it was opened to (upper half). A half that isn't one of that very app's rules in force
is judged anew: so each rule is asked once for a connection, and what a packet costs doesn't grow with their number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from nsmanager.firewall.entries import DEFAULT, AppEntries, Entry, counter_name, limit_words
from nsmanager.firewall.numbers import high, low
from nsmanager.firewall.words import chain, indented, map_of, set_of
from pubsub.topics import Action, NamespaceConfig

DROPS_GROUP = 1  # of nfnetlink_log: packets that were dropped, with `app/rule` as their prefix
CONTENT_LENGTH = 12  # hexadecimal digits of a chain's content in its name
DROPS_SNAPLEN = 128  # bytes of each: its headers

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
# Without a connection there is no mark to compare: such packets would slip through.
UNTRACKED = "ct state invalid,untracked drop"


def kept(apps: Sequence[AppEntries]) -> Iterator[str]:
    """Yield the declarations of counters, which live on when the rules change."""
    for one in apps:
        if one.ruled:
            yield from (f"counter {entry.met} {{ }}" for entry in one.entries)
            yield f"counter {counter_name(one.app.name, DEFAULT)} {{ }}"
    yield from (f"counter {entry.over} {{ }}" for entry in _limited(apps))


def chains(config: NamespaceConfig, apps: Sequence[AppEntries]) -> str:
    """Return all that `inwards`, `outwards` and `bridged` need; the chain `forward` leads to these."""
    lines = [*_limits(apps), *_maps(apps), *_passed(apps)]
    for one in apps:
        lines += _checks(config, one)
    lines += chain("leaving", ["meta mark and 0x0000ffff vmap @leaving"])
    lines += chain("arriving", ["meta mark and 0xffff0000 vmap @arriving"])
    lines += chain("arriving-routed", list(_by_address(apps)))
    lines += chain("outwards", ["jump leaving", "goto passed"])
    lines += chain("inwards", ["jump arriving-routed", "goto passed"])
    lines += chain("bridged", [*ALWAYS, UNTRACKED, "jump leaving", "jump arriving", "goto passed"])
    lines += chain("by-app", [*_by_app(config, apps), "goto passed"]) if config.app_routes else []
    return "\n" + indented(lines).rstrip("\n") + "\n"


def _limits(apps: Iterable[AppEntries]) -> Iterator[str]:
    for entry in _limited(apps):
        assert entry.rule.limit is not None
        yield f"limit {entry.limit} {{ {limit_words(entry.rule.limit, entry.rule.burst)}; }}"


def _maps(apps: Sequence[AppEntries]) -> Iterator[str]:
    out = [(entry, low(entry.number)) for one in apps for entry in one.entries if entry.out]
    into = [(entry, high(entry.number)) for one in apps for entry in one.entries if entry.into]
    for way, found in (("out", out), ("in", into)):
        allowing = [(entry, mark) for entry, mark in found if entry.rule.action is Action.ALLOW]
        limited = [(entry, mark) for entry, mark in allowing if entry.rule.limit is not None]
        yield from map_of(f"{way}-counters", "mark : counter", (f'{mark} : "{entry.met}"' for entry, mark in allowing))
        if limited:
            yield from map_of(f"{way}-limits", "mark : limit", (f'{mark} : "{entry.limit}"' for entry, mark in limited))
            over = (f"{mark} : goto {entry.over}" for entry, mark in limited)
            yield from map_of(f"{way}-over", "mark : verdict", over)
    yield from map_of("leaving", "mark : verdict", (f"{low(one.number)} : goto from-{one.app.name}" for one in apps))
    yield from map_of("arriving", "mark : verdict", (f"{high(one.number)} : goto to-{one.app.name}" for one in apps))


def _passed(apps: Sequence[AppEntries]) -> Iterator[str]:
    """Yield the chain in which what may pass is counted and limited, and the chains of what is over a limit."""
    lines = [
        "counter name ct mark and 0x0000ffff map @out-counters",
        "counter name ct mark and 0xffff0000 map @in-counters",
    ]
    limited = list(_limited(apps))
    for way, mask in (("out", "0x0000ffff"), ("in", "0xffff0000")):
        if any(entry.out if way == "out" else entry.into for entry in limited):
            lines.append(f"limit name ct mark and {mask} map @{way}-limits ct mark and {mask} vmap @{way}-over")
    for entry in limited:
        yield from chain(entry.over, [_dropped(entry.over, "")])
    yield from chain("passed", [*lines, "accept"])


def rules(config: NamespaceConfig, apps: Iterable[AppEntries]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the chains that judge the apps' connections, by their names, which change with their content."""
    return tuple(found for one in apps for found in _rules(config, one))


def _rules(config: NamespaceConfig, one: AppEntries) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield an app's chains, of what it opens and what is opened to it: `return` lets pass, as far as it goes."""
    name = one.app.name
    log = f'log prefix "{name}/{DEFAULT}" {_group(config)}' if config.log.flows else ""
    for way, mask, write in (("out", "0xffff0000", low), ("in", "0x0000ffff", high)):
        lines = []
        if not one.ruled:
            lines.append(f"ct mark set ct mark and {mask} or {write(one.free)} return")
        for entry in one.entries:
            verdict = f"ct mark set ct mark and {mask} or {write(entry.number)} return"
            if entry.rule.action is Action.DROP:
                verdict = _dropped(entry.met, _log(config, entry))
            lines += [f"{line} {verdict}".lstrip() for line in (entry.out if way == "out" else entry.into)]
        if one.ruled:
            lines.append(_dropped(counter_name(name, DEFAULT), log))
        content = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:CONTENT_LENGTH]
        yield f"{way}-{name}-{content}", tuple(lines)


def _checks(config: NamespaceConfig, one: AppEntries) -> Iterator[str]:
    """Yield the chains that ask whether a packet's connection was judged by this app's rules as they are now.

    Numbers of both halves are kept as they are compared; an app opens a connection, or answers in it.
    """
    name = one.app.name
    for which, write in (("out", low), ("in", high)):
        yield from set_of(f"{which}-ids-{name}", "type mark", (write(number) for number in one.numbers))
    (out, _), (into, _) = _rules(config, one)
    opens = f"ct mark and 0x0000ffff != @out-ids-{name} goto {out}"
    is_opened_to = f"ct mark and 0xffff0000 != @in-ids-{name} goto {into}"
    yield from chain(f"from-{name}", [f"ct direction original {opens}", f"ct direction reply {is_opened_to}"])
    yield from chain(f"to-{name}", [f"ct direction original {is_opened_to}", f"ct direction reply {opens}"])


def _by_address(apps: Sequence[AppEntries]) -> Iterator[str]:
    """Yield how a routed packet finds the app it goes to: by its planned address.

    To another address only answers pass, and those to an app with rules not while it must be judged anew. Of IPv4 that
    is one of DHCP's, whose app has no rules.
    """
    ruled = [one for one in apps if one.ruled]
    for ip, addresses in (
        ("ip", [(one.app.address, one) for one in apps if one.app.address is not None]),
        ("ip6", [(one.app.address6, one) for one in apps if one.app.address6 is not None]),
    ):
        if addresses:
            elements = ", ".join(f"{address} : goto to-{one.app.name}" for address, one in addresses)
            yield f"{ip} daddr vmap {{ {elements} }}"
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
    return f'log prefix "{entry.label}" {_group(config)}' if config.log.flows else ""


def _group(_config: NamespaceConfig) -> str:
    return f"group {DROPS_GROUP} snaplen {DROPS_SNAPLEN}"
