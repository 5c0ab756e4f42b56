"""What of others' rules is told to be in the way: rules as libnftables-json(5) has them, and as nft prints them."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest

from supervisor.obstructions import merged
from supervisor.passage.obstacles import Passage, is_foreign, obstacles, told_apart
from supervisor.passage.ruleset import Ruleset

OUT = Passage("v-red", ip_address("100.127.0.1"), "eth0", 0x102)
IN = Passage("v-red", ip_address("100.127.0.1"), "eth0", 0x102, ("tcp", 8080))
ACCEPT: dict[str, Any] = {"accept": None}


def match(left: Any, right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": left, "right": right}}


IIF = {"meta": {"key": "iifname"}}
OIF = {"meta": {"key": "oifname"}}
STATE = {"ct": {"key": "state"}}


def ruleset(*rules: tuple[str, list[dict[str, Any]]], policy: str = "drop", table: str = "filter") -> Ruleset:
    """Return one chain of the forward hook, its rules as text and as data."""
    key = {"family": "ip", "table": table}
    chain = {**key, "name": "FORWARD", "type": "filter", "hook": "forward", "prio": 0, "policy": policy}
    objects = [{"chain": chain}]
    objects += [
        {"rule": {**key, "chain": "FORWARD", "handle": number, "expr": expression}}
        for number, (_, expression) in enumerate(rules, 5)
    ]
    lines = [f"\t\t{text} # handle {number}" for number, (text, _) in enumerate(rules, 5)]
    return merged([(json.dumps({"nftables": objects}), "\n".join([f"table ip {table} {{", *lines]))])


OURS_OUT = ('iifname "v-*" accept', [match(IIF, "v-*"), ACCEPT])
OURS_IN = ('oifname "v-*" accept', [match(OIF, "v-*"), ACCEPT])
ANSWERS = ("ct state related,established accept", [{"xt": {"type": "match", "name": "conntrack"}}, ACCEPT])
UNJUDGED = ("# match-set friends src accept", [{"xt": {"type": "match", "name": "set"}}, ACCEPT])
REJECT = ("reject with icmpx admin-prohibited", [{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}])


@pytest.mark.parametrize(
    ("rules", "passage", "told"),
    [
        (ruleset(), OUT, ["policy drop"]),
        (ruleset(policy="accept"), IN, []),
        (ruleset(OURS_OUT), OUT, ["policy drop"]),  # the answers
        (ruleset(OURS_OUT, OURS_IN), IN, []),
        (ruleset(OURS_OUT, ANSWERS), OUT, []),
        (ruleset(OURS_OUT, ANSWERS), IN, ["policy drop"]),  # what a port map brings
        (ruleset(UNJUDGED), IN, []),  # it may let them pass
        (ruleset(OURS_OUT, OURS_IN, REJECT, policy="accept"), IN, []),
        (ruleset(ANSWERS, REJECT, policy="accept"), OUT, ["rule `reject with icmpx admin-prohibited`"]),
    ],
)
def test_what_drops_a_packet_is_told(rules: Ruleset, passage: Passage, told: list[str]) -> None:
    assert [one.what for one in obstacles(rules, passage)] == told


def test_the_remedy_is_in_the_words_of_who_made_the_chain() -> None:
    [by_iptables] = obstacles(ruleset(), OUT)
    assert by_iptables.remedy == "for way in i o; do iptables -I FORWARD -$way v-+ -j ACCEPT; done"
    [by_nft] = obstacles(ruleset(table="mine"), OUT)
    assert by_nft.remedy == (
        'nft \'insert rule ip mine FORWARD iifname "v-*" accept; insert rule ip mine FORWARD oifname "v-*" accept\''
    )


def test_ours_and_what_no_packet_passes_are_not_judged() -> None:
    tables = [("inet", "nsvisor"), ("inet", "nsvisor_digest"), ("bridge", "x"), ("netdev", "x"), ("ip6", "filter")]
    assert [table for table in tables if is_foreign(*table)] == [("ip6", "filter")]
    assert obstacles(ruleset(table="nsvisor"), OUT) == ()


def test_links_that_rules_name_are_judged_each_for_itself() -> None:
    links = ["v-red", "v-blue", "v-b1"]
    assert told_apart(['iifname "v-*" accept', 'oifname "docker0"'], links) == frozenset()
    assert told_apart(['iifname "v-red" accept'], links) == {"v-red"}
    assert told_apart(['iifname "v-b*" accept'], links) == {"v-blue", "v-b1"}
