"""How `nsvisor explain` prints a way, and which of the host's rules is for a packet."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import click
import pytest

from supervisor.cli.explain import Port, as_data, render
from supervisor.cli.way import Packet, Way
from supervisor.cli.way.kernel import applies
from supervisor.passage.packet import Step
from tests.conftest import Golden

PACKET = Packet(ip_address("10.1.0.80"), ip_address("192.0.2.1"), "tcp", 443, iif="v-red", mark=0x102)
WAY = Way(
    (
        Step("red", "route", "out by up0", ("default via 100.127.0.0 dev up0",), ("ip -n red route get 192.0.2.1",)),
        Step("outside", "return", "it may come back"),
        Step("host", "filter", "dropped", ("forwarding: drop", '@x has "eth0"'), ("nft list chain", "nft get element")),
    ),
    "dropped",
    "in the host, by forwarding: drop",
)


@pytest.mark.parametrize(("name", "commands"), [("explain", False), ("explain-wide", True)])
def test_a_way_reads_step_by_step(golden: Golden, name: str, *, commands: bool) -> None:
    golden(name, render("red", "web", PACKET, WAY, commands=commands, dim=False))


def test_commands_are_dim_on_a_terminal() -> None:
    lines = render("red", "", PACKET, WAY, commands=True, dim=True).splitlines()
    assert [line.strip() for line in lines if line.startswith("\x1b[2m")] == [
        f"\x1b[2m{' ' * 21}# {command}\x1b[0m" for step in WAY.steps for command in step.asked
    ]


def test_a_way_as_data_has_every_step() -> None:
    found = json.loads(json.dumps(as_data("red", "web", PACKET, WAY)))
    assert (found["end"], found["port"], len(found["steps"])) == ("dropped", 443, 3)
    assert found["steps"][2]["by"] == ["forwarding: drop", '@x has "eth0"']


@pytest.mark.parametrize("text", ["443/tcp", "tcp/443"])
def test_a_port_may_be_written_either_way_round(text: str) -> None:
    assert Port().convert(text, None, None) == ("tcp", 443)


@pytest.mark.parametrize("text", ["443", "tcp", "0/tcp", "65536/tcp", "80/icmp", "80/tcp/x", ""])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Port().convert(text, None, None)


@pytest.mark.parametrize(
    ("rule", "meant"),
    [
        ({"src": "all", "table": "main"}, True),
        ({"src": "all", "iif": "lo", "goto": 100}, False),
        ({"src": "all", "iif": "v-red", "table": "main"}, True),
        ({"src": "all", "fwmark": "0x102", "fwmask": "0xffff", "table": "196002"}, True),
        ({"src": "all", "fwmark": "0x2", "fwmask": "0xf", "table": "196002"}, True),
        ({"src": "all", "fwmark": "0", "fwmask": "0xffff", "action": "unreachable"}, False),
        ({"src": "10.1.0.0", "srclen": 24, "table": "main"}, True),
        ({"src": "10.2.0.0", "srclen": 24, "table": "main"}, False),
        ({"src": "all", "dst": "192.0.2.1", "table": "main"}, True),
        ({"src": "all", "dst": "192.0.3.0", "dstlen": 24, "table": "main"}, False),
    ],
)
def test_a_rule_is_for_a_packet_or_not(rule: dict[str, Any], *, meant: bool) -> None:
    assert applies(rule, PACKET) == meant
