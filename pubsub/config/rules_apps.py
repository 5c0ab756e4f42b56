"""What the rules of apps must fulfil beyond their types: all words that come to stand in nft's text are checked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pubsub.config.rules_words import Findings, Path, check_uplink
from pubsub.topics import Action, AppConfig, Direction, NetworkInstanceConfig, Rule
from pubsub.values import PortMap

MOST_RULES = 1024  # of an instance: nft takes more than linear time to load a table, 22 s for four times as many
NAME_LENGTH = 24
NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
RESERVED = ("default", "spoofed")  # names of what no rule matches, and of what isn't the app's to send
PORT_PREFIX = "port-"  # begins the names of the rules that an app's port maps are
HOST = re.compile(
    r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)
NUMBER = re.compile(r"0|[1-9][0-9]{0,2}")
HOST_LENGTH = 253  # RFC 1035
PROTOCOLS = ("tcp", "udp", "icmp", "icmpv6")
WITH_PORTS = ("tcp", "udp")
FAMILIES = {"icmp": 4, "1": 4, "icmpv6": 6, "58": 6}
ANY_APP = "all"
LARGEST_PROTOCOL = 255
LARGEST_BURST = 0xFFFFFFFF  # 32 bits, see linux/netfilter/nf_tables.h


def check_rules(config: NetworkInstanceConfig) -> Findings:
    """Yield what is wrong with the rules of an instance's apps."""
    count = sum(len(app.rules or ()) for app in config.apps.values())
    if count > MOST_RULES:
        yield ("apps",), f"the instance's apps have {count} rules", f"use {MOST_RULES} at most: join networks and ports"
    for name, app in config.apps.items():
        names: set[str] = set()
        for index, rule in enumerate(app.rules or ()):
            path = ("apps", name, "rules", str(index))
            yield from _name(path, rule.name)
            known = rule.name or f"rule-{index + 1}"
            if known in names:
                yield (*path, "name"), f"the name {known!r} stands twice", "choose another name"
            names.add(known)
            yield from _ends(path, rule, name, config)
            yield from _transport(path, rule)
            yield from _limit(path, rule)
            yield from _portmap(path, rule)
            if rule.uplink:
                yield from check_uplink((*path, "uplink"), rule.uplink)


def mapped_ports(app: AppConfig) -> Iterator[tuple[Path, PortMap]]:
    """Yield all port maps of an app, those of its rules too, each with its path below the app."""
    for index, port in enumerate(app.ports):
        yield ("ports", str(index)), port
    for index, rule in enumerate(app.rules or ()):
        if rule.portmap is not None:
            yield ("rules", str(index), "portmap"), rule.portmap


def _name(path: Path, name: str) -> Findings:
    if not name:
        return
    path = (*path, "name")
    if NAME.fullmatch(name) is None or len(name) > NAME_LENGTH:
        remedy = f"use a-z, 0-9 and -, at most {NAME_LENGTH} characters, and no - at either end"
        yield path, f"{name!r} can't be a rule's name", remedy
    elif name in RESERVED or name.startswith(PORT_PREFIX):
        what = f"{PORT_PREFIX}… are the names of port maps" if name.startswith(PORT_PREFIX) else "it has a meaning"
        yield path, f"{name!r} can't be a rule's name: {what}", "choose another name"


def _ends(path: Path, rule: Rule, name: str, config: NetworkInstanceConfig) -> Findings:
    """Yield what is wrong with who the other end is."""
    for index, other in enumerate(rule.apps):
        if other != ANY_APP and other not in config.apps:
            known = ", ".join([ANY_APP, *sorted(config.apps)])
            yield (*path, "apps", str(index)), f"there is no app {other!r}; known: {known}", "name one of these"
        elif other == name:
            yield (*path, "apps", str(index)), "an app needs no rule to reach itself", "name another app"
    if rule.host:
        if HOST.fullmatch(rule.host.removesuffix(".")) is None or len(rule.host) > HOST_LENGTH:
            message = f"{rule.host!r} can't be a host's name"
            yield (*path, "host"), message, "write a name, as cdn.test: names below it are meant too"
        if rule.direction is not Direction.OUT or rule.portmap is not None:
            message = "`host` is what an app connects to: it has no meaning for what comes in"
            yield (*path, "host"), message, "use `remote`, or `direction: out`"
    family = FAMILIES.get(rule.protocol)
    if family and rule.remote and all(remote.network.version != family for remote in rule.remote):
        message = f"protocol {rule.protocol} is IPv{family}'s, and no network in `remote` is"
        yield (*path, "protocol"), message, "use icmp with IPv4 networks and icmpv6 with IPv6's"


def _transport(path: Path, rule: Rule) -> Findings:
    number = NUMBER.fullmatch(rule.protocol) is not None and int(rule.protocol) <= LARGEST_PROTOCOL
    if rule.protocol and rule.protocol not in PROTOCOLS and not number:
        remedy = f"use {', '.join(PROTOCOLS)} or a number from 0 to {LARGEST_PROTOCOL}"
        yield (*path, "protocol"), f"unknown protocol {rule.protocol!r}", remedy
    if rule.ports and rule.portmap is None and rule.protocol not in WITH_PORTS:
        yield (*path, "ports"), "ports are TCP's or UDP's", "add `protocol: tcp` or `protocol: udp`"


def _limit(path: Path, rule: Rule) -> Findings:
    if rule.limit is not None and rule.action is Action.DROP:
        yield (*path, "limit"), "a rule that drops all has nothing to limit", "remove it, or use `action: allow`"
    if rule.burst and rule.limit is None:
        yield (*path, "burst"), "a burst is of a limit, and there is none", "add `limit: …`, or remove it"
    if not 0 <= rule.burst <= LARGEST_BURST:
        yield (*path, "burst"), f"a burst of {rule.burst} is not possible", f"use 1 to {LARGEST_BURST}"


def _portmap(path: Path, rule: Rule) -> Findings:
    if rule.portmap is None:
        return
    for field in ("protocol", "ports", "apps"):
        if getattr(rule, field):
            message = f"a port map says itself what it matches: `{field}` has no meaning beside it"
            yield (*path, field), message, "remove it; `remote` says who may use the port map"
    if rule.direction is Direction.BOTH:
        yield (*path, "direction"), "what comes by a port map comes in", "remove it"
    if rule.action is Action.DROP:
        yield (
            (*path, "action"),
            "a port map that is dropped needn't be there",
            "remove the rule, or use `action: allow`",
        )
