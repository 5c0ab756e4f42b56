"""Reads what nft lists: the base chains of each hook, and every rule as data and as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

FAMILIES = {4: {"inet", "ip"}, 6: {"inet", "ip6"}}


class Rule(msgspec.Struct, frozen=True):
    """One rule."""

    text: str  # as nft prints it
    statements: tuple[Mapping[str, Any], ...]  # as libnftables-json(5) has them


class Chain(msgspec.Struct, frozen=True):
    """One chain; with a hook, type and policy if it is a base chain."""

    family: str
    table: str
    name: str
    rules: tuple[Rule, ...]
    type: str = ""  # filter, nat, route
    hook: str = ""
    priority: int = 0
    policy: str = "accept"

    @property
    def words(self) -> str:
        """The words by which nft knows it."""
        return f"{self.family} {self.table} {self.name}"


class Ruleset:
    """All chains of one network namespace."""

    def __init__(self, listed: str, text: str) -> None:
        """Take what `nft -j -t list ruleset` and `nft -a -t list ruleset` print: JSON has no text of the rules."""
        objects = json.loads(listed)["nftables"] if listed else []
        texts = rule_texts(text)
        rules: dict[tuple[str, str, str], list[Rule]] = {}
        for one in (found["rule"] for found in objects if "rule" in found):
            words = texts.get((one["family"], one["table"], one["handle"]), "")
            rule = Rule(words, tuple(_understood(statement, words) for statement in one["expr"]))
            rules.setdefault((one["family"], one["table"], one["chain"]), []).append(rule)
        self.chains = {
            key: Chain(
                *key,
                rules=tuple(rules.get(key, ())),
                type=one.get("type", ""),
                hook=one.get("hook", ""),
                priority=one.get("prio", 0),
                policy=one.get("policy", "accept"),
            )
            for one in (found["chain"] for found in objects if "chain" in found)
            for key in [(one["family"], one["table"], one["name"])]
        }

    def base_chains(self, hook: str, version: int) -> list[Chain]:
        """Return the chains of a hook that see packets of this IP version, in the order in which they are run."""
        found = [chain for chain in self.chains.values() if chain.hook == hook and chain.family in FAMILIES[version]]
        return sorted(found, key=lambda chain: chain.priority)

    def chain(self, beside: Chain, name: str) -> Chain:
        """Return a chain by its name, in the table of another."""
        return self.chains[beside.family, beside.table, name]


def _understood(statement: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    """Return a statement; of iptables' own JSON has only the name, and the text says what it is for some."""
    name = statement["xt"].get("name") if isinstance(statement.get("xt"), dict) else None
    if name == "comment":
        return {"log": None}  # decides as little
    states = re.search(r"ct state (!= )?([a-z,]+)", text) if name == "conntrack" else None
    if states:
        right = {"left": {"ct": {"key": "state"}}, "right": states[2].split(",")}
        return {"match": {"op": "!=" if states[1] else "==", **right}}
    return statement


def rule_texts(text: str) -> dict[tuple[str, str, int], str]:
    """Return the text of each rule in `nft -a list ruleset`, by family, table and handle."""
    found = {}
    family = table = ""
    for line in text.splitlines():
        if match := re.match(r"table (\S+) (\S+) {", line):
            family, table = match.groups()
        elif match := re.match(r"\t\t(.*[^{]) # handle (\d+)$", line):
            found[family, table, int(match[2])] = match[1]
    return found
