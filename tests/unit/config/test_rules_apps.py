"""Mistakes in the rules of apps: each is told with its field, what is wrong and what to do."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nsmanager.firewall import tables
from pubsub.codec import from_plain
from pubsub.config.rules import validate, validate_all
from pubsub.topics import NetworkInstanceConfig, Rule
from supervisor.instances.local import named_rules
from tests.unit.nsmanager.test_plan import APPS6, PLACE, SMALL6

GOOD: tuple[dict[str, Any], ...] = (
    {"remote": ["192.0.2.0/24", "2001:db8::/32"], "protocol": "tcp", "ports": ["80", "8000-8100"]},
    {"host": "*.cdn.test", "action": "drop", "name": "no-cdn"},
    {"apps": ["db", "all"], "direction": "both", "protocol": "47"},
    {"protocol": "icmpv6", "remote": ["::/0", "0.0.0.0/0"], "uplink": "wan"},
    {"limit": "5/s", "burst": 15},
    {"portmap": "8080:80/tcp", "remote": ["203.0.113.0/24"]},
)
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown app": ({"apps": ["dba"]}, "apps.0", "known: all, db, web"),
    "itself": ({"apps": ["web"]}, "apps.0", "reach itself"),
    "a name of ours": ({"name": "default"}, "name", "has a meaning"),
    "a name of port maps": ({"name": "port-1"}, "name", "names of port maps"),
    "a long name": ({"name": "a" * 25}, "name", "can't be"),
    "a name with an end": ({"name": 'a" drop'}, "name", "can't be"),
    "a host with a blank": ({"host": "cdn.test }"}, "host", "can't be a host's name"),
    "a host for what comes in": ({"host": "cdn.test", "direction": "in"}, "host", "no meaning for what comes in"),
    "ports of all": ({"ports": ["80"]}, "ports", "TCP's or UDP's"),
    "ports of echo": ({"ports": ["80"], "protocol": "icmp"}, "ports", "TCP's or UDP's"),
    "an unknown protocol": ({"protocol": "quic"}, "protocol", "unknown protocol"),
    "a large protocol": ({"protocol": "256"}, "protocol", "unknown protocol"),
    "an octal protocol": ({"protocol": "010"}, "protocol", "unknown protocol"),
    "families": ({"protocol": "icmp", "remote": ["2001:db8::/32"]}, "protocol", "is IPv4's"),
    "a limit of nothing": ({"limit": "5/s", "action": "drop"}, "limit", "nothing to limit"),
    "a burst of nothing": ({"burst": 5}, "burst", "there is none"),
    "a negative burst": ({"limit": "5/s", "burst": -5}, "burst", "not possible"),
    "an uplink's name": ({"uplink": "a b"}, "uplink", "a b"),
    "a port map with ports": ({"portmap": "8080:80", "ports": ["1"]}, "ports", "no meaning beside"),
    "a dropped port map": ({"portmap": "8080:80", "action": "drop"}, "action", "needn't be there"),
    "both ways": ({"portmap": "8080:80", "direction": "both"}, "direction", "comes in"),
    "the same port": ({"portmap": "9090:80"}, "portmap", "already app db's"),
}


def config(*rules: dict[str, Any], **changes: Any) -> NetworkInstanceConfig:
    """Return an instance whose app `web` has these rules."""
    plain = {"apps": {"db": {"ports": ["9090:90"]}, "web": {"rules": rules}}, **changes}
    return from_plain(NetworkInstanceConfig, plain)


def test_good_rules_are_good() -> None:
    assert not validate("red", config(*GOOD))


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_told(what: str) -> None:
    rule, field, words = WRONG[what]
    found = validate("red", config(rule))
    assert ".".join(found[0].path) == f"apps.web.rules.0.{field}"
    assert words in found[0].message
    assert all(one.remedy for one in found)


def test_two_rules_of_one_name() -> None:
    (found,) = validate("red", config({"name": "rule-2"}, {}))
    assert "twice" in found.message


def test_too_many_rules() -> None:
    (found,) = validate("red", config(*({"protocol": str(number % 256)} for number in range(1025))))
    assert "1025 rules" in found.message


def test_port_maps_of_rules_are_claimed_like_others() -> None:
    one = {"apps": {"web": {"rules": [{"portmap": "8080:80"}]}}}
    other = {"apps": {"web": {"ports": ["8080:80"]}}}
    (found,) = validate_all(
        {name: from_plain(NetworkInstanceConfig, plain) for name, plain in (("red", one), ("blue", other))}
    )
    assert (found.name, "instance red's" in found.message) == ("blue", True)


@given(
    field=st.sampled_from(["name", "host", "protocol", "uplink", "apps"]),
    value=st.text(st.sampled_from('ab1-.*{};"\\\n\t #@$/'), max_size=12),
)
@example(field="uplink", value="@")
@example(field="uplink", value='"{};$#')
def test_nothing_that_is_let_through_adds_to_what_nft_reads(field: str, value: str) -> None:
    rule = {field: [value] if field == "apps" else value}
    if validate("red", config(rule)):
        return
    text = in_nft(rule, uplink=value)
    assert not set(value) & set('{};"\\\n\t #$/')
    if field == "uplink":  # names of interfaces may hold @: no word of these ever stands in nft's text
        assert without_numbers(text) == without_numbers(in_nft({"uplink": "wan"} if value else {}, uplink="wan"))
    else:
        assert "@" not in value
    assert text.count(" hook ") == HOOKS + bool(rule.get("host")) * 1
    assert text.count("{") == text.count("}")


def in_nft(rule: dict[str, Any], uplink: str) -> str:
    """Return the text of the rules' table while that uplink is used."""
    app = msgspec.structs.replace(APPS6[0], rules=named_rules((from_plain(Rule, rule),)))
    return tables(msgspec.structs.replace(SMALL6, apps=(app,), uplinks=(uplink,)), PLACE)[0].text


def without_numbers(text: str) -> list[str]:
    """Return the words without those numbers that follow from a rule's words, and the order that they bring."""
    return sorted(re.sub(r"0x[0-9a-f]+|\d+", "", text).split())


HOOKS = 5  # chains with a hook: input, forward twice, prerouting, postrouting; with names in rules output too
