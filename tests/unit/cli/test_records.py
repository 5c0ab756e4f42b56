"""`nsvisor flows` and `nsvisor dns`: what a record looks like."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest

from pubsub.codec import to_plain
from pubsub.topics import Direction, DnsQuery, IPFlow, Verdict
from pubsub.values import IpAddress
from supervisor.cli import dns, flows
from supervisor.cli.records import Printer

FLOW = to_plain(
    IPFlow(
        app="web", peer_app="db", rule="pages", verdict=Verdict.ALLOWED, direction=Direction.OUT, protocol="tcp",
        source=IpAddress(ip_address("2001:db8::80")), destination=IpAddress(ip_address("2001:db8::1")),
        source_port=4000, destination_port=80, sent_bytes=2048, sent_packets=6, received_bytes=100, received_packets=4,
        start=1.0, end=2.5,
    )
)  # fmt: skip
DROP = {**FLOW, "app": "", "peer_app": "", "protocol": "icmp", "verdict": "dropped", "source": "192.0.2.1"}
QUERY = to_plain(
    DnsQuery(
        app="web", source=IpAddress(ip_address("10.1.0.80")), protocol="udp", name="www.test", type="A", at=1.0,
        code="NOERROR", answers=("192.0.2.1",), ttl=60, latency=0.25,
    )
)  # fmt: skip


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_flows_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(flows.COLUMNS, flows.WIDTHS, "table").history([FLOW, DROP], goes_on=False)
    titles, first, second = printed(capsys)
    assert titles == "ENDED APP VERDICT RULE WAY PROTO SOURCE DESTINATION SENT RECEIVED SECONDS"
    assert first.endswith(
        "web > db allowed pages out tcp [2001:db8::80]:4000 [2001:db8::1]:80 2.0 KiB / 6 100 B / 4 1.500"
    )
    assert " - dropped pages out icmp 192.0.2.1 2001:db8::1 " in second


def test_lines_that_come_stand_under_the_titles(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(dns.COLUMNS, dns.WIDTHS, "table")
    printer.history([QUERY], goes_on=True)
    printer.record({**QUERY, "code": "", "answers": [], "latency": 0.0})
    titles, *lines = capsys.readouterr().out.splitlines()
    assert [line.index("www.test") for line in lines] == [titles.index("NAME")] * 2
    assert lines[0].split()[1:] == ["web", "www.test", "A", "NOERROR", "192.0.2.1", "60", "s", "0.2", "ms"]
    assert "no answer" in lines[1]


def test_as_data_each_record_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(flows.COLUMNS, flows.WIDTHS, "json")
    printer.history([FLOW], goes_on=False)
    printer.record(DROP)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [FLOW, DROP]


def test_losses_are_told_beside_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(flows.COLUMNS, flows.WIDTHS, "json").lost(12)
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", "nsvisor: 12 records were lost here\n")


def test_filters() -> None:
    assert flows.matching("", "") is None
    by_app, by_verdict = flows.matching("db", ""), flows.matching("web", "dropped")
    assert by_app is not None and by_verdict is not None
    assert by_app(FLOW) and not by_app(DROP)
    assert not by_verdict(FLOW) and by_verdict({**DROP, "app": "web"})
    by_code = dns.matching("", "noerror")
    assert by_code is not None and by_code(QUERY) and not by_code({**QUERY, "code": "NXDOMAIN"})
