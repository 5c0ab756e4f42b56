"""Runs a packet through the chains of a hook: the rules are those in force, and each set is asked for its element."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from supervisor.passage.expressions import (
    NoMatchError,
    UnknownError,
    address_and_port,
    element_words,
    field,
    matches,
)
from supervisor.passage.packet import IpAddress, Packet
from supervisor.passage.ruleset import Chain, Rule, Ruleset

CHOICES = frozenset({"jhash", "numgen", "symhash"})  # each connection is dealt a number
LIMITS = ("limit", "ct count", "set")  # a set that packets fill may have a limit for each element
VERDICTS = ("accept", "drop", "return", "continue")
PASSING = ("log", "quota", "ct helper", "ct timeout", "notrack", "flow")  # decide nothing here


class Asked(msgspec.Struct, frozen=True):
    """What was asked, and the element that nft printed; None: there is none."""

    command: str
    element: str | None


class Asking(Protocol):
    """Who knows what a listing of rules doesn't."""

    def listing(self, chain: str) -> str:
        """Return the command that lists a chain."""

    def element(self, table: str, name: str, key: str) -> Asked:
        """Return the element of a set or map; `table` with its family."""

    def masquerade(self, packet: Packet) -> IpAddress:
        """Return the address that masquerading gives to a packet."""


class Decision(msgspec.Struct, frozen=True):
    """One rule, or the policy of a chain, that did something."""

    chain: Chain
    kind: str  # mark, nat, filter, unknown
    effect: str  # in words
    by: tuple[str, ...]  # the rules that led there, and the elements, as nft prints them
    asked: tuple[str, ...]  # commands


class Trial:
    """One packet in one namespace; `packet` changes on the way, `decisions` grow."""

    def __init__(self, ruleset: Ruleset, asking: Asking, packet: Packet) -> None:
        self.packet = packet
        self.decisions: list[Decision] = []
        self._ruleset = ruleset
        self._asking = asking
        self._led: list[str] = []  # rules and elements that led to where we are
        self._asked: list[str] = []
        self._kept_by: list[Asked] = []  # elements without which a rule would have taken it

    def run(self, hook: str) -> bool:
        """Run all chains of a hook; tell whether the packet is still there."""
        translated = False
        for chain in self._ruleset.base_chains(hook, self.packet.version):
            if chain.type == "nat" and translated:
                continue  # one translation at each hook
            before = self.packet.translated
            if not self.judge(chain):
                return False
            translated = translated or self.packet.translated != before
        return True

    def judge(self, chain: Chain) -> bool:
        """Run one chain of a hook; tell whether the packet is still there."""
        self._led, self._asked, self._kept_by = [], [self._asking.listing(chain.words)], []
        verdict = self._run_chain(chain)
        if verdict is None and chain.policy == "drop":
            self._decide(
                chain, "filter", "dropped", (f"{chain.name}: policy drop (table {chain.family} {chain.table})",)
            )
        return verdict != "drop" and (verdict is not None or chain.policy != "drop")

    def _run_chain(self, chain: Chain) -> str | None:
        """Return accept or drop, None at the end of the chain."""
        for rule in chain.rules:
            led, asked = len(self._led), len(self._asked)
            self._led.append(f"{chain.name}: {rule.text}")
            try:
                verdict = self._run_rule(chain, rule)
            except NoMatchError:
                verdict = None
            except (UnknownError, LookupError, TypeError, ValueError) as exc:  # a stranger's rule may have any shape
                self._decide(chain, "unknown", f"not judged: {exc}", ())
                verdict = None
            if verdict == "return":
                verdict = None
                self._led, self._asked = self._led[:led], self._asked[:asked]
                return None
            if verdict is not None:
                return verdict
            self._led, self._asked = self._led[:led], self._asked[:asked]
        return None

    def _run_rule(self, chain: Chain, rule: Rule) -> str | None:
        for statement in rule.statements:
            [(kind, words)] = statement.items()
            if kind == "match":
                if not self._holds(chain, words):
                    raise NoMatchError
            elif kind in VERDICTS:
                if kind in ("accept", "drop"):
                    self._decide(chain, "filter", {"accept": "accepted", "drop": "dropped"}[kind], ())
                return kind if kind != "continue" else None
            elif kind == "reject":
                self._decide(chain, "filter", "rejected", ())
                return "drop"
            elif kind in ("jump", "goto"):
                return self._lead_to(chain, kind, words["target"])
            elif kind == "vmap":
                verdict = self._by_map(chain, words)
                if verdict not in ("", "continue"):
                    return verdict
            elif kind in ("dnat", "snat", "masquerade", "redirect"):
                self._translate(chain, kind, words or {})
                return "accept"
            elif kind in LIMITS:
                if any(over_limit(limit) for limit in ([words] if kind != "set" else limits_of(words))):
                    raise NoMatchError  # one packet isn't
            elif kind == "counter":
                self._count(chain, words)
            elif kind == "mangle":
                self._mangle(chain, words)
            elif kind not in PASSING:
                raise UnknownError(kind)
        return None

    def _lead_to(self, chain: Chain, kind: str, target: str) -> str | None:
        into = self._ruleset.chain(chain, target)
        self._asked.append(self._asking.listing(into.words))
        verdict = self._run_chain(into)
        return verdict if verdict or kind == "jump" else "return"

    def _by_map(self, chain: Chain, words: Any) -> str | None:
        """Return the verdict of a verdict map; empty: it has none for this packet."""
        data = words["data"]
        if isinstance(data, dict):
            pairs = [(pattern, verdict) for pattern, verdict in data["set"]]
            value = self._value(chain, words["key"])
            statement = next((verdict for pattern, verdict in pairs if matches(value, pattern)), None)
            if statement is None:
                return ""
            return self._run_rule(chain, Rule("", (statement,)))
        found = self._element(chain, data, words["key"])
        if found is None:
            return ""
        kind, _, target = found.partition(" ")
        return self._run_rule(chain, Rule("", ({kind: {"target": target} if target else None},)))

    def _holds(self, chain: Chain, words: Any) -> bool:
        right = words["right"]
        if isinstance(right, str) and right.startswith("@"):
            found = self._element(chain, right, words["left"], wanted=words["op"] == "==") is not None
        else:
            found = matches(self._value(chain, words["left"]), right)
        negated: bool = words["op"] in ("!=", "!")
        return found != negated

    def _value(self, chain: Chain, expression: Any) -> Any:
        """Return an expression's value: that of `field`, or looked up in a map."""
        if isinstance(expression, dict) and "concat" in expression:
            return tuple(self._value(chain, part) for part in expression["concat"])
        if not isinstance(expression, dict) or "map" not in expression:
            return field(self.packet, expression)
        if choices := self._choices(chain, expression):
            return choices[0]
        key, data = expression["map"]["key"], expression["map"]["data"]
        if isinstance(data, dict):
            value = self._value(chain, key)
            for pattern, result in data["set"]:
                if matches(value, pattern):
                    return self._value(chain, result)
            raise NoMatchError
        found = self._element(chain, data, key)
        if found is None:
            raise NoMatchError
        return found

    def _choices(self, chain: Chain, expression: Any) -> list[Any]:
        """Return the values of which each connection is dealt one, by chance or in turn; empty: it is no such map."""
        found = expression.get("map") if isinstance(expression, dict) else None
        if not found or not isinstance(found["key"], dict) or not found["key"].keys() & CHOICES:
            return []
        if isinstance(found["data"], dict):
            return [value for _, value in found["data"]["set"]]
        [words] = found["key"].values()
        first = words.get("offset") or 0
        values = (self._look_up(chain, found["data"], str(first + number)) for number in range(words["mod"]))
        return [int(value, 0) for value in values if value is not None]

    def _element(self, chain: Chain, name: str, key: Any, *, wanted: bool = True) -> str | None:
        """Return an element's value (itself in a set); what is remembered is what was `wanted` and is there."""
        return self._look_up(chain, name, element_words(self.packet, key), wanted=wanted)

    def _look_up(self, chain: Chain, name: str, key: str, *, wanted: bool = True) -> str | None:
        asked = self._asking.element(f"{chain.family} {chain.table}", name[1:], key)
        self._asked.append(asked.command)
        if asked.element is None:
            if not wanted:
                self._led.append(f"nothing in {name}")
            return None
        if wanted:
            self._led.append(f"{name} has {asked.element}")
        else:
            self._kept_by.append(Asked(asked.command, f"{name} has {asked.element}"))
        return asked.element.rpartition(" : ")[2]

    def _count(self, chain: Chain, words: Any) -> None:
        """Remember by which counter of a map it is counted: of an app's rules that is the rule's name."""
        if not isinstance(words, dict) or not isinstance(words.get("map"), dict):
            return
        name, key = words["map"]["data"], element_words(self.packet, words["map"]["key"])
        asked = self._asking.element(f"{chain.family} {chain.table}", name[1:], key)
        if asked.element is not None:
            self._kept_by.append(Asked(asked.command, f"{name} has {asked.element}"))

    def _mangle(self, chain: Chain, words: Any) -> None:
        [(kind, key)] = words["key"].items()
        if kind not in ("meta", "ct") or key["key"] != "mark":
            return  # it changes the packet, not its way, as `tcp option maxseg size set rt mtu`
        choices = self._choices(chain, words["value"])
        value = choices[0] if choices else self._value(chain, words["value"])
        mark = int(value, 0) if isinstance(value, str) else value
        if kind == "ct":
            self.packet = msgspec.structs.replace(self.packet, ct_mark=mark)
            return
        self.packet = msgspec.structs.replace(self.packet, mark=mark)
        dealt = f", for example: each connection is dealt one of {', '.join(map(hex, choices))}" if choices else ""
        self._decide(chain, "mark", hex(mark) + dealt, ())

    def _translate(self, chain: Chain, kind: str, words: Any) -> None:
        if kind == "redirect":
            raise UnknownError(kind)
        if words.get("family", "") == ("ip6" if self.packet.version == 4 else "ip"):
            raise NoMatchError
        if kind == "masquerade":
            address, port = self._asking.masquerade(self.packet), 0
        else:
            address, port = address_and_port(self._value(chain, words["addr"]))
            port = int(self._value(chain, words["port"])) if words.get("port") else port
        status = self.packet.translated | {"dnat" if kind == "dnat" else "snat"}
        if kind == "dnat":
            port = port or self.packet.port
            self.packet = msgspec.structs.replace(
                self.packet, destination=address, port=port, translated=status, opened_to=self.packet.original
            )
            effect = f"destination becomes {self.packet.target}"
        else:
            self.packet = msgspec.structs.replace(self.packet, source=address, translated=status)
            effect = f"source becomes {address}"
        self._decide(chain, "nat", effect, ())

    def _decide(self, chain: Chain, kind: str, effect: str, by: tuple[str, ...]) -> None:
        by = by or tuple(self._led)
        by += tuple(one.element for one in self._kept_by if one.element)
        asked = dict.fromkeys([*self._asked, *(one.command for one in self._kept_by)])
        self._kept_by = []
        self.decisions.append(Decision(chain, kind, effect, by, tuple(asked)))


def limits_of(words: Any) -> list[Any]:
    """Return the limits that an element has which a packet puts into a set."""
    return [next(iter(one.values())) for one in words.get("stmt") or ()]


def over_limit(words: Any) -> bool:
    """Tell whether a limit is for what is over it; those that maps name are."""
    return isinstance(words, dict) and bool(words.get("inv") or "map" in words)
