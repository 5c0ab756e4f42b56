"""How a packet fares in chains: rules as libnftables-json(5) has them, elements from a table of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from supervisor.passage.expressions import NoMatchError, UnknownError, element_words, field, matches
from supervisor.passage.judge import Asked, Trial
from supervisor.passage.packet import IpAddress, Packet
from supervisor.passage.ruleset import Chain, Rule, Ruleset, rule_texts

PACKET = Packet(
    ip_address("10.1.0.80"), ip_address("192.0.2.1"), "tcp", 443, iif="v-red", oif="eth0", iifgroup=196, mark=0x102
)
ECHO6 = Packet(ip_address("fd00::80"), ip_address("2001:db8::1"), "ipv6-icmp", iif="v-red")

ACCEPT: dict[str, Any] = {"accept": None}
DROP: dict[str, Any] = {"drop": None}


class Elements:
    """Knows the elements of sets, by `name key`."""

    def __init__(self, elements: Mapping[str, str]) -> None:
        self.elements = elements

    def listing(self, chain: str) -> str:
        return f"list {chain}"

    def element(self, table: str, name: str, key: str) -> Asked:
        return Asked(f"get {table} {name} {key}", self.elements.get(f"{name} {key}"))

    def masquerade(self, packet: Packet) -> IpAddress:
        return ip_address({"eth0": "198.51.100.2"}[packet.oif])


def meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


def payload(protocol: str, name: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": name}}


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def chain(*rules: list[dict[str, Any]], name: str = "main", **options: Any) -> Chain:
    made = tuple(Rule(f"rule {number}", tuple(statements)) for number, statements in enumerate(rules))
    return Chain("inet", "t", name, made, **options)


def judge(*chains: Chain, elements: Mapping[str, str] | None = None, packet: Packet = PACKET) -> tuple[bool, Trial]:
    """Run a packet through the forward hook; the first chain is hooked there unless it says otherwise."""
    ruleset = Ruleset("", "")
    first = chains[0] if chains[0].hook else msgspec.structs.replace(chains[0], hook="forward", type="filter")
    ruleset.chains = {(one.family, one.table, one.name): one for one in (first, *chains[1:])}
    trial = Trial(ruleset, Elements(elements or {}), packet)
    return trial.run("forward"), trial


@pytest.mark.parametrize(
    ("value", "pattern", "holds"),
    [
        ("eth0", "eth0", True),
        ("eth0", "eth*", True),
        ("eth0", "wlan*", False),
        (0x102, "0x00000102", True),
        (258, 258, True),
        ("ipv6-icmp", "icmpv6", True),
        (0x12345678, {"prefix": {"addr": 0x12340000, "len": 16}}, True),
        (0x12345678, {"prefix": {"addr": 0, "len": 16}}, False),
        (ip_address("10.1.0.80"), "10.1.0.80", True),
        (ip_address("10.1.0.80"), {"prefix": {"addr": "10.1.0.0", "len": 24}}, True),
        (ip_address("10.1.1.80"), {"prefix": {"addr": "10.1.0.0", "len": 24}}, False),
        (ip_address("10.1.0.80"), {"range": ["10.1.0.70", "10.1.0.90"]}, True),
        (443, {"range": [80, 442]}, False),
        ("tcp", {"set": ["tcp", "udp"]}, True),
        ("icmp", {"set": ["tcp", "udp"]}, False),
        (frozenset({"new"}), ["established", "related"], False),
        (frozenset({"new"}), ["established", "new"], True),
        (frozenset({"dnat"}), "dnat", True),
        (("tcp", 443), {"concat": ["tcp", {"range": [400, 500]}]}, True),
        (("tcp", 443), {"concat": ["udp", 443]}, False),
    ],
)
def test_a_value_is_compared_as_nft_does(value: Any, pattern: Any, *, holds: bool) -> None:
    assert matches(value, pattern) == holds


@pytest.mark.parametrize(
    ("expression", "packet", "value"),
    [
        (meta("mark"), PACKET, 0x102),
        ({"&": [meta("mark"), 0xFF]}, PACKET, 2),
        (meta("nfproto"), ECHO6, "ipv6"),
        (payload("th", "dport"), PACKET, 443),
        (payload("tcp", "flags"), PACKET, frozenset({"syn"})),
        (payload("ip6", "daddr"), ECHO6, ip_address("2001:db8::1")),
        (payload("icmpv6", "type"), ECHO6, "echo-request"),
        ({"ct": {"key": "state"}}, PACKET, frozenset({"new"})),
    ],
)
def test_a_field_is_read(expression: Any, packet: Packet, value: Any) -> None:
    assert field(packet, expression) == value


@pytest.mark.parametrize(
    ("expression", "packet"),
    [
        (payload("ip", "saddr"), ECHO6),
        (payload("ip6", "saddr"), PACKET),
        (payload("udp", "dport"), PACKET),
        (payload("th", "dport"), ECHO6),
        (payload("icmp", "type"), ECHO6),
    ],
)
def test_a_field_that_the_packet_has_not_ends_the_rule(expression: Any, packet: Packet) -> None:
    with pytest.raises(NoMatchError):
        field(packet, expression)


@pytest.mark.parametrize("expression", [{"fib": {}}, meta("skuid"), payload("ip", "dscp"), {"&": ["x", 1]}])
def test_what_cannot_be_known_is_not_guessed(expression: Any) -> None:
    with pytest.raises(UnknownError):
        field(PACKET, expression)


def test_the_key_of_an_element_is_written_as_nft_reads_it() -> None:
    key = {"concat": [meta("mark"), meta("oifname"), payload("ip", "daddr"), meta("l4proto"), payload("th", "dport")]}
    assert element_words(PACKET, key) == '0x102 . "eth0" . 192.0.2.1 . 6 . 443'


def test_the_first_verdict_counts_and_tells_its_rule() -> None:
    passed, trial = judge(
        chain([match(meta("iifname"), "v-blue"), DROP], [match(meta("iifgroup"), 196), ACCEPT], [DROP])
    )
    assert passed
    [decision] = trial.decisions
    assert (decision.effect, decision.by, decision.asked) == ("accepted", ("main: rule 1",), ("list inet t main",))


def test_an_accept_ends_its_chain_only() -> None:
    passed, trial = judge(chain([ACCEPT]), chain(name="later", hook="forward", priority=10, policy="drop"))
    assert not passed
    assert trial.decisions[-1].by == ("later: policy drop (table inet t)",)


def test_chains_run_by_priority_and_only_those_of_the_packets_family() -> None:
    early = chain([match(meta("mark"), 0), DROP], name="early", hook="forward", priority=-5)
    other = msgspec.structs.replace(chain([DROP], name="other", hook="forward"), family="ip6")
    passed, trial = judge(chain([ACCEPT]), other, early)
    assert passed
    assert [decision.chain.name for decision in trial.decisions] == ["main"]


def test_sets_are_asked_and_what_kept_a_drop_away_is_told() -> None:
    ways_out = match({"concat": [meta("mark"), meta("oifname")]}, "@ways_out", "!=")
    rules = chain([ways_out, DROP], [match(meta("oifname"), "@uplinks"), ACCEPT])
    elements = {'uplinks "eth0"': '"eth0"', 'ways_out 0x102 . "eth0"': '0x00000102 . "eth0"'}
    passed, trial = judge(rules, elements=elements)
    assert passed
    [decision] = trial.decisions
    assert decision.by == ("main: rule 1", '@uplinks has "eth0"', '@ways_out has 0x00000102 . "eth0"')
    assert 'get inet t ways_out 0x102 . "eth0"' in decision.asked
    passed, trial = judge(rules, elements={'uplinks "eth0"': '"eth0"'})
    assert not passed
    assert trial.decisions[0].by == ("main: rule 0", "nothing in @ways_out")


def test_a_verdict_map_jumps_and_a_return_comes_back() -> None:
    main = chain([{"vmap": {"key": meta("oifname"), "data": "@into"}}], [DROP])
    elements = {'into "eth0"': '"eth0" : jump aside'}
    aside = chain([match(meta("mark"), 0x999), ACCEPT], [{"return": None}], [ACCEPT], name="aside")
    passed, trial = judge(main, aside, elements=elements)
    assert not passed
    assert trial.decisions[0].by == ("main: rule 1",)
    passed, trial = judge(main, chain([ACCEPT], name="aside"), elements=elements)
    assert passed
    assert trial.decisions[0].by == ("main: rule 0", '@into has "eth0" : jump aside', "aside: rule 0")
    assert trial.decisions[0].asked[-1] == "list inet t aside"


def test_a_goto_does_not_come_back() -> None:
    goto = {"goto": {"target": "aside"}}
    passed, _ = judge(chain([goto], [DROP]), chain([match(meta("mark"), 0), DROP], name="aside"))
    assert passed


def test_an_anonymous_verdict_map_is_read() -> None:
    data = {"set": [["established", ACCEPT], [["new", "untracked"], DROP]]}
    passed, _ = judge(chain([{"vmap": {"key": {"ct": {"key": "state"}}, "data": data}}], [ACCEPT]))
    assert not passed


def test_a_mark_comes_from_a_map_or_from_nowhere() -> None:
    binding = {"mangle": {"key": meta("mark"), "value": {"map": {"key": meta("iifname"), "data": "@uplink_of"}}}}
    keeping = {"mangle": {"key": {"ct": {"key": "mark"}}, "value": meta("mark")}}
    _, trial = judge(chain([binding, keeping]), elements={'uplink_of "v-red"': '"v-red" : 0x00000103'})
    assert (trial.packet.mark, trial.packet.ct_mark) == (0x103, 0x103)
    assert [decision.effect for decision in trial.decisions] == ["0x103"]
    _, trial = judge(chain([binding, keeping]))
    assert (trial.packet.mark, trial.decisions) == (0x102, [])


def test_a_dealt_mark_says_that_it_is_one_of_several() -> None:
    deal = {"numgen": {"mode": "inc", "mod": 2, "offset": 0}}
    value = {"map": {"key": deal, "data": {"set": [[0, 0x103], [1, 0x104]]}}}
    _, trial = judge(chain([{"mangle": {"key": meta("mark"), "value": value}}]))
    [decision] = trial.decisions
    assert decision.effect == "0x103, for example: each connection is dealt one of 0x103, 0x104"
    assert trial.packet.mark == 0x103


@pytest.mark.parametrize(
    ("statement", "elements", "source", "destination", "port"),
    [
        ({"masquerade": None}, {}, "198.51.100.2", "192.0.2.1", 443),
        ({"snat": {"family": "ip", "addr": "198.51.100.9"}}, {}, "198.51.100.9", "192.0.2.1", 443),
        ({"dnat": {"family": "ip", "addr": "10.9.9.9", "port": 80}}, {}, "10.1.0.80", "10.9.9.9", 80),
        (
            {"dnat": {"family": "ip", "addr": {"map": {"key": payload("th", "dport"), "data": "@maps"}}}},
            {"maps 443": "443 : 10.9.9.9 . 8443"},
            *("10.1.0.80", "10.9.9.9", 8443),
        ),
        (
            {"dnat": {"family": "ip", "addr": {"map": {"key": payload("th", "dport"), "data": "@maps"}}}},
            {},
            *("10.1.0.80", "192.0.2.1", 443),
        ),
        ({"dnat": {"family": "ip6", "addr": "2001:db8::9"}}, {}, "10.1.0.80", "192.0.2.1", 443),
    ],
)
def test_addresses_are_translated(
    statement: Any, elements: Mapping[str, str], source: str, destination: str, port: int
) -> None:
    _, trial = judge(chain([statement], hook="forward", type="nat"), elements=elements)
    assert (str(trial.packet.source), str(trial.packet.destination), trial.packet.port) == (source, destination, port)


def test_one_translation_is_made_at_a_hook() -> None:
    first = chain([{"snat": {"family": "ip", "addr": "198.51.100.9"}}], name="a", hook="forward", type="nat")
    second = chain([{"masquerade": None}], name="b", hook="forward", type="nat", priority=5)
    _, trial = judge(first, second)
    assert str(trial.packet.source) == "198.51.100.9"


@pytest.mark.parametrize(
    "statement",
    [
        {"xt": None},
        {"match": {"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}},
        {"match": {"op": "==", "left": {"meta": {}}, "right": 1}},
        {"jump": {"target": "nowhere"}},
        {"mangle": {"key": {"meta": {"key": "mark"}}, "value": "no number"}},
        {"snat": {"addr": "no address"}},
        {"redirect": None},
    ],
)
def test_a_rule_that_cannot_be_judged_is_told_and_passed_by(statement: dict[str, Any]) -> None:
    passed, trial = judge(chain([statement, DROP], [ACCEPT]))
    assert passed
    assert [decision.kind for decision in trial.decisions] == ["unknown", "filter"]
    assert trial.decisions[0].by == ("main: rule 0",)


def test_the_text_of_rules_is_found_by_their_handles() -> None:
    listing = """\
table inet t { # handle 2
\tset s { # handle 1
\t\ttype mark
\t}

\tchain c { # handle 3
\t\ttype filter hook forward priority filter; policy accept;
\t\tiifgroup 196 meta l4proto { tcp, udp } drop # handle 4
\t}
}
table ip other { # handle 5
\tchain c { # handle 1
\t\taccept comment "a # b" # handle 2
\t}
}
"""
    assert rule_texts(listing) == {
        ("inet", "t", 4): "iifgroup 196 meta l4proto { tcp, udp } drop",
        ("ip", "other", 2): 'accept comment "a # b"',
    }


def test_one_packet_is_below_every_limit_of_a_set() -> None:
    over = {"op": "add", "elem": meta("iifname"), "set": "@live", "stmt": [{"ct count": {"val": 256, "inv": True}}]}
    rate = {"op": "update", "elem": meta("iifname"), "set": "@born", "stmt": [{"limit": {"rate": 5, "inv": True}}]}
    hop = {"concat": [meta("iifname"), {"rt": {"key": "nexthop", "family": "ip"}}]}
    known = match(hop, "@near")
    passed, trial = judge(
        chain([{"set": over}, DROP], [{"set": rate}, DROP], [known, DROP], [{"set": {**over, "stmt": None}}], [ACCEPT])
    )
    assert passed
    assert [decision.effect for decision in trial.decisions] == ["accepted"]


def test_a_connection_is_in_no_sample() -> None:
    bits = {"&": [{"ct": {"key": "id"}}, 63]}
    assert judge(chain([match(bits, 0), DROP], [ACCEPT]))[0]
    assert not judge(chain([match(bits, 0, op="!="), DROP], [ACCEPT]))[0]


def test_the_first_packet_of_a_connection_is_not_confirmed_yet() -> None:
    first = match({"ct": {"key": "status"}}, "confirmed", op="!")
    assert not judge(chain([first, DROP], [ACCEPT]))[0]
