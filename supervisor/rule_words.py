"""Rules of apps in words, with what met them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nsmanager.firewall.entries import DEFAULT, SPOOFED, rules_in_force
from pubsub.topics import Direction, NamespaceApp, NamespaceConfig, Rule, RuleCounters, RuleStatus


def fold_rules(
    config: NamespaceConfig, app: NamespaceApp, counted: Iterable[RuleCounters]
) -> tuple[tuple[RuleStatus, ...], int]:
    """Return an app's rules in force with their counts, the default last; and how much was spoofed."""
    met = {one.rule: one for one in counted if one.app == app.name}
    spoofed = met[SPOOFED].drops if SPOOFED in met else 0
    if app.rules is None:
        return (), spoofed
    rules = [*rules_in_force(config, app)]
    found = [_status(rule.name, rule.direction, match(rule), action(rule), met) for rule in rules]
    return (*found, _status(DEFAULT, Direction.BOTH, "what no rule matches", "drop", met)), spoofed


def match(rule: Rule) -> str:
    """Say what a rule matches."""
    return " ".join(_words(rule)) or "all"


def action(rule: Rule) -> str:
    """Say what a rule does."""
    limit = f", at most {rule.limit}" if rule.limit is not None else ""
    return f"{rule.action}{limit}{f', burst {rule.burst}' if rule.burst else ''}"


def _words(rule: Rule) -> Iterator[str]:
    if rule.portmap is not None:
        yield f"port map {rule.portmap}"
    if rule.protocol:
        yield rule.protocol
    if rule.ports:
        yield f"port {_listed(map(str, rule.ports))}"
    there = "from" if rule.direction is Direction.IN else "to" if rule.direction is Direction.OUT else "with"
    ends = [*map(str, rule.remote), *([f"{rule.host} and below"] if rule.host else [])]
    if ends:
        yield f"{there} {_listed(ends)}"
    if rule.apps:
        yield f"{there} {'any app' if 'all' in rule.apps else 'app ' + _listed(rule.apps)}"
    if rule.uplink:
        yield f"while uplink {rule.uplink} is used"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _status(name: str, direction: Direction, matched: str, done: str, met: dict[str, RuleCounters]) -> RuleStatus:
    counted = met.get(name) or RuleCounters(app="", rule=name)
    return RuleStatus(
        name=name,
        direction=str(direction),
        match=matched,
        action=done,
        packets=counted.packets,
        bytes=counted.bytes,
        drops=counted.drops,
    )
