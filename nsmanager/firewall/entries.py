"""The rules in force of each app, in their order, each with its number and its names in nft. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from nsmanager.firewall.hosts import host_suffix, known_addresses
from nsmanager.firewall.match import matches
from nsmanager.firewall.numbers import numbers
from pubsub.topics import Direction, NamespaceApp, NamespaceConfig, Rule
from pubsub.values import RATE_PERIODS, PortMap, Rate

UNIT_BYTES = {"bytes": 1, "kbytes": 1024, "mbytes": 1024 * 1024}  # as nft counts
LIMIT_LENGTH = 8  # hexadecimal digits of a limit's words in its name
DEFAULT = "default"  # name of what no rule matches
SPOOFED = "spoofed"  # name of what isn't the app's to send


class Entry(msgspec.Struct, frozen=True):
    """One rule in force."""

    app: str
    rule: Rule
    number: int  # of 16 bits; that of a connection is of the rule that decided it, as it was then
    out: tuple[str, ...]  # lines of what it matches, of connections that the app opens
    into: tuple[str, ...]  # and of those that others open to it

    @property
    def met(self) -> str:
        """Name the counter of all that met it."""
        return counter_name(self.app, self.rule.name)

    @property
    def over(self) -> str:
        """Name the counter, and the chain, of what was over its limit."""
        return f"over/{self.app}/{self.rule.name}"

    @property
    def limit(self) -> str:
        """Name its limit; another one has another name."""
        words = limit_words(self.rule.limit, self.rule.burst) if self.rule.limit is not None else ""
        return f"limit/{self.app}/{self.rule.name}/{hashlib.sha256(words.encode()).hexdigest()[:LIMIT_LENGTH]}"

    @property
    def label(self) -> str:
        """Name it for people and logs."""
        return f"{self.app}/{self.rule.name}"


class AppEntries(msgspec.Struct, frozen=True):
    """One app: its number, and its rules."""

    app: NamespaceApp
    number: int  # of the packets that it sends
    free: int  # number of its connections while it has no rules
    entries: tuple[Entry, ...] = ()

    @property
    def ruled(self) -> bool:
        """Tell whether it has rules; else everything is allowed."""
        return self.app.rules is not None

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of its connections whose judgement still holds."""
        return tuple(sorted(entry.number for entry in self.entries)) if self.ruled else (self.free,)


def watched(config: NamespaceConfig) -> bool:
    """Tell whether packets between apps of the bridge must pass the rules: some app has rules, or flows are logged."""
    return config.log.flows or any(app.rules is not None for app in config.apps)


def app_numbers(config: NamespaceConfig) -> dict[str, int]:
    """Return the number of each app: it is the mark of all packets that it sends."""
    return numbers(app.name for app in config.apps)


def decisions(config: NamespaceConfig) -> dict[int, tuple[str, str]]:
    """Return app and rule by the numbers in a connection's mark; the rule is empty where the app has none."""
    return {
        number: (one.app.name, name)
        for one in app_entries(config)
        for number, name in (
            [(entry.number, entry.rule.name) for entry in one.entries] if one.ruled else [(one.free, "")]
        )
    }


def app_entries(config: NamespaceConfig) -> tuple[AppEntries, ...]:
    """Return all apps with their rules in force.

    A rule's number follows from itself and all before it: where something is changed, connections that it or a later
    one let pass are judged anew. What it names is told by nft's words, so that a change of another app's address is a
    change too.
    """
    known = app_numbers(config)
    drafts = []
    for app in config.apps:
        others = [other for other in config.apps if other.name != app.name]
        history = hashlib.sha256(app.name.encode())
        for rule in rules_in_force(config, app):
            named = known_addresses(config, host_suffix(rule.host)) if rule.host else ()
            out = matches(rule, Direction.OUT, others, known, named) if rule.direction is not Direction.IN else ()
            into = matches(rule, Direction.IN, others, known) if rule.direction is not Direction.OUT else ()
            history.update(repr((rule.name, str(rule.action), out, into)).encode())
            drafts.append((app, rule, out, into, history.hexdigest()))
    found = numbers([*(draft[-1] for draft in drafts), *(f"free {app.name}" for app in config.apps)])
    return tuple(
        AppEntries(
            app,
            known[app.name],
            found[f"free {app.name}"],
            tuple(
                Entry(app.name, rule, found[word], out, into) for owner, rule, out, into, word in drafts if owner is app
            ),
        )
        for app in config.apps
    )


def rules_in_force(config: NamespaceConfig, app: NamespaceApp) -> Iterator[Rule]:
    """Yield an app's rules but those of uplinks that aren't in use; after them its port maps, which are open to all."""
    if app.rules is None:
        return
    for rule in app.rules:
        if not rule.uplink or rule.uplink in config.uplinks:
            yield rule
    claimed = {(rule.portmap.protocol, rule.portmap.outer) for rule in app.rules if rule.portmap is not None}
    for port in app.ports:
        if (port.protocol, port.outer) not in claimed:
            yield Rule(name=port_rule_name(port), direction=Direction.IN, portmap=port)


def port_rule_name(port: PortMap) -> str:
    """Return the name of the rule that a port map is."""
    return f"port-{port.outer}-{port.protocol}"


def counter_name(app: str, rule: str) -> str:
    """Name the counter of what met an app's rule."""
    return f"met/{app}/{rule}"


def limit_words(rate: Rate, burst: int) -> str:
    """Return a limit as nft writes it: it matches what is over it. See nft_limit_init in net/netfilter/nft_limit.c.

    Of packets `burst` pass at once; of bytes the kernel lets pass one period's and the burst on top of it.
    """
    period = RATE_PERIODS[rate.period]
    if not rate.unit:
        return f"rate over {rate.amount}/{period} burst {burst or rate.amount} packets"
    more = burst - rate.amount * UNIT_BYTES[rate.unit]
    return f"rate over {rate.amount} {rate.unit}/{period}" + (f" burst {more} bytes" if more > 0 else "")
