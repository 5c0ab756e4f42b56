"""Connections as ctnetlink tells of them: entries, what is told when, records."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsmanager.flows import drops, table
from nsmanager.flows.entry import Entry
from nsmanager.flows.records import flow
from nsmanager.flows.table import SETTLING, Flows
from nsmanager.netlink import attribute, nested
from nsmanager.nflog import Logged
from nsmanager.residents import METADATA, Residents
from pubsub.topics import Direction, NamespaceApp, NamespaceConfig, Verdict
from pubsub.values import MacAddress

WEB, PEER = IPv4Address("10.1.0.80"), IPv4Address("10.1.0.81")
OUTSIDE = IPv4Address("198.51.100.1")
RESIDENTS = Residents(
    NamespaceConfig(
        bridge=IPv4Interface("10.1.0.1/24"),
        mtu=1500,
        apps=(
            NamespaceApp(name="web", mac=MacAddress.parse("02:00:00:00:00:80"), address=WEB),
            NamespaceApp(name="peer", mac=MacAddress.parse("02:00:00:00:00:81"), address=PEER),
        ),
    ),
    None,
)
ESTABLISHED, TIME_WAIT = 3, 7


def ends(which: int, source: IPv4Address, target: IPv4Address, protocol: int, ports: tuple[int, int]) -> bytes:
    numbers = attribute(2, struct.pack("!H", ports[0])) + attribute(3, struct.pack("!H", ports[1]))
    return nested(
        which,
        nested(1, attribute(1, source.packed), attribute(2, target.packed)),
        nested(2, attribute(1, bytes((protocol,))), numbers),
    )


def counters(which: int, packets: int, size: int) -> bytes:
    return nested(which, attribute(1, struct.pack("!Q", packets)), attribute(2, struct.pack("!Q", size)))


def message(
    source: IPv4Address = WEB, target: IPv4Address = OUTSIDE, real: IPv4Address | None = None, *,
    number: int = 1, state: int | None = None, timeout: int = 30, mark: int = 0, protocol: int = 17, port: int = 4000,
    start: int = 1,
) -> bytes:  # fmt: skip
    """Return the body of a message about one connection; `real` is who answers, `start` seconds since the epoch."""
    body = bytes((2, 0, 0, 0)) + ends(1, source, target, protocol, (port, 80))
    body += ends(2, real or target, source, protocol, (80, port))
    if state is not None:
        body += nested(4, nested(1, attribute(1, bytes((state,)))))
    body += attribute(7, struct.pack("!I", timeout)) + attribute(8, struct.pack("!I", mark))
    body += counters(9, 5, 500) + counters(10, 4, 4000) + attribute(12, struct.pack("!I", number))
    times = attribute(1, struct.pack("!Q", start * 10**9)) + attribute(2, struct.pack("!Q", (start + 2) * 10**9))
    return body + nested(20, times)


def entry(number: int = 1, state: int | None = None, start: int = 1) -> Entry:
    return Entry(message(number=number, state=state, protocol=17 if state is None else 6, start=start))


def test_a_record_has_what_the_kernel_counted() -> None:
    rules = {7: ("web", "pages")}
    found = flow(Entry(message(mark=7)), RESIDENTS, rules.get, 99.0)
    assert found is not None
    assert (found.app, found.rule, found.verdict, found.direction) == ("web", "pages", Verdict.ALLOWED, Direction.OUT)
    assert (found.protocol, found.source.ip, found.source_port, found.destination_port) == ("udp", WEB, 4000, 80)
    assert (found.sent_packets, found.sent_bytes, found.received_packets, found.received_bytes) == (5, 500, 4, 4000)
    assert (found.start, found.end) == (1.0, 3.0)


def test_who_answers_tells_whose_port_map_it_was() -> None:
    rules = {5: ("web", "callers")}
    found = flow(Entry(message(OUTSIDE, IPv4Address("100.127.0.1"), WEB, mark=5 << 16)), RESIDENTS, rules.get, 0.0)
    assert found is not None
    assert (found.app, found.rule, found.direction, found.peer_app) == ("web", "callers", Direction.IN, "")


def test_between_apps_it_is_told_of_who_opened_it() -> None:
    found = flow(Entry(message(WEB, PEER)), RESIDENTS, lambda _number: None, 0.0)
    assert found is not None
    assert (found.app, found.peer_app, found.direction) == ("web", "peer", Direction.OUT)


@pytest.mark.parametrize("target", [IPv4Address("10.1.0.1"), METADATA, IPv4Address("10.1.0.255")])
def test_what_is_the_instances_own_is_no_record(target: IPv4Address) -> None:
    assert flow(Entry(message(WEB, target)), RESIDENTS, lambda _number: None, 0.0) is None


def test_what_comes_to_an_address_that_nobody_planned_is_known_by_the_rules_too() -> None:
    found = flow(Entry(message(OUTSIDE, IPv4Address("10.1.0.99"), mark=7 << 16)), RESIDENTS, {7: ("web", "")}.get, 0.0)
    assert found is not None
    assert (found.app, found.direction) == ("web", Direction.IN)


def test_an_app_whose_address_is_gone_is_known_by_its_rule() -> None:
    found = flow(Entry(message(IPv4Address("10.1.0.99"), mark=7)), RESIDENTS, {7: ("gone", "r")}.get, 0.0)
    assert found is not None and (found.app, found.rule) == ("gone", "r")


NUMBERS = {entry(number, state).key: number for number in range(5) for state in (None, TIME_WAIT)}


def ids(told: Iterator[Entry]) -> list[int]:
    return [NUMBERS[one.key] for one in told]


def test_what_tcp_ended_is_asked_for_when_it_has_settled_and_told_once() -> None:
    flows = Flows(0.0)
    flows.ended(entry(1, TIME_WAIT), 10.0)
    assert not flows.due(10.0 + SETTLING / 2)
    [due] = flows.due(10.0 + SETTLING)
    assert ids(flows.answered(due, entry(1, TIME_WAIT), 11.0)) == [1]
    flows.ended(entry(1, TIME_WAIT), 12.0)  # a reset after it
    [due] = flows.due(13.0)
    assert not ids(flows.answered(due, entry(1, TIME_WAIT), 13.0))
    assert not flows.due(20.0)
    assert not ids(flows.deleted(entry(1, TIME_WAIT), 20.0))


def test_what_is_replaced_before_it_settled_is_told_from_its_deletion() -> None:
    flows = Flows(0.0)
    flows.ended(entry(1, TIME_WAIT), 10.0)
    assert ids(flows.deleted(entry(1, TIME_WAIT), 10.0)) == [1]
    flows.ended(entry(1, TIME_WAIT, start=2), 10.1)  # the next one of those ends, with the same id
    [due] = flows.due(11.0)
    assert ids(flows.answered(due, entry(1, TIME_WAIT, start=2), 11.0)) == [1]


def test_an_answer_from_before_it_was_deleted_tells_nothing_more() -> None:
    flows = Flows(0.0)
    flows.ended(entry(1, TIME_WAIT), 10.0)
    [due] = flows.due(11.0)
    assert ids(flows.deleted(entry(1, TIME_WAIT), 11.0)) == [1]
    assert not ids(flows.answered(due, entry(1, TIME_WAIT), 11.0))


def test_an_answer_about_a_later_one_is_of_that_one() -> None:
    flows = Flows(0.0)
    flows.ended(entry(1, TIME_WAIT), 10.0)
    [due] = flows.due(11.0)
    assert not ids(flows.answered(due, entry(1, ESTABLISHED, start=3), 11.0))
    assert not flows.due(99.0)
    flows.ended(entry(1, TIME_WAIT, start=3), 99.0)
    [due] = flows.due(100.0)
    assert ids(flows.answered(due, entry(1, TIME_WAIT, start=3), 100.0)) == [1]
    assert ids(flows.deleted(entry(1, TIME_WAIT), 101.0)) == [1]  # the first one's, late
    assert not ids(flows.deleted(entry(1, TIME_WAIT, start=3), 102.0))


def test_others_are_asked_about_when_they_expire_and_told_when_deleted() -> None:
    flows = Flows(0.0)
    flows.begun(entry(2), 100.0)
    assert not flows.due(129.0)
    [due] = flows.due(130.3)
    assert not ids(flows.answered(due, entry(2), 130.3))  # a packet came meanwhile
    assert not flows.due(159.0)
    [due] = flows.due(160.6)
    assert not ids(flows.answered(due, None, 160.6))
    assert flows.open == 0
    assert ids(flows.deleted(entry(2), 160.7)) == [2]


def test_two_that_the_kernel_gives_the_same_number_are_both_told() -> None:
    flows = Flows(0.0)
    first, second = Entry(message(state=TIME_WAIT, protocol=6)), Entry(message(port=4001))
    flows.begun(second, 10.0)
    flows.ended(first, 10.0)
    [due] = flows.due(10.0 + SETTLING)
    assert list(flows.answered(due, first, 11.0)) == [first]
    assert list(flows.deleted(second, 12.0)) == [second]


def test_after_a_restart_what_had_ended_is_not_told_again() -> None:
    flows = Flows(10.0)
    flows.adopt([entry(1, TIME_WAIT), entry(2)], 50.0)
    flows.ended(entry(1, TIME_WAIT), 51.0)
    [due] = flows.due(52.0)
    assert not ids(flows.answered(due, entry(1, TIME_WAIT), 52.0))
    assert not ids(flows.deleted(entry(1, TIME_WAIT), 53.0))
    assert not ids(flows.deleted(entry(3, TIME_WAIT, start=7), 53.0))  # before it was listed
    assert ids(flows.deleted(entry(2), 53.0)) == [2]


def test_after_lost_news_of_an_end_it_is_told_from_the_list_or_from_its_deletion() -> None:
    flows = Flows(0.0)
    flows.begun(entry(3, ESTABLISHED), 0.0)
    assert ids(flows.deleted(entry(2, TIME_WAIT), 1.0)) == [2]
    flows.resync([entry(3, TIME_WAIT), entry(4)], 1.0)
    [due] = flows.due(1.0 + SETTLING)
    assert ids(flows.answered(due, entry(3, TIME_WAIT), 1.5)) == [3]
    flows.resync([entry(3, TIME_WAIT), entry(4)], 2.0)
    assert not flows.due(9.0)
    assert flows.open == 1


def test_of_more_than_can_be_remembered_none_is_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "TOLD_LIMIT", 2)
    flows = Flows(0.0)
    for number in range(4):
        flows.ended(entry(number, TIME_WAIT), 10.0)
    for number, due in enumerate(flows.due(11.0)):
        assert ids(flows.answered(due, entry(number, TIME_WAIT), 11.0)) == [number]
    flows.ended(entry(1, TIME_WAIT, start=2), 12.0)
    assert ids(flows.deleted(entry(1, TIME_WAIT, start=2), 12.1)) == [1]  # replaced before it was told
    assert not [one for number in range(4) for one in flows.deleted(entry(number, TIME_WAIT), 130.0)]


def test_what_the_kernel_has_long_forgotten_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "TOLD_LIMIT", 2)
    flows = Flows(0.0)
    for number, now in ((0, 10.0), (1, 11.0), (2, 11.0 + table.MEMORY)):  # of whose deletions no news comes
        flows.ended(entry(number, TIME_WAIT), now)
        [due] = flows.due(now + 1)
        assert ids(flows.answered(due, entry(number, TIME_WAIT), now + 1)) == [number]
    assert ids(flows.deleted(entry(3, TIME_WAIT), 400.0)) == [3]  # whose end was lost


@given(
    st.lists(st.tuples(st.sampled_from(["begun", "ended", "deleted", "heard", "ask", "list"]), st.integers(1, 3))),
    st.booleans(),
)
def test_whatever_is_late_or_lost_each_connection_is_told_once(news: list[tuple[str, int]], lossy: bool) -> None:
    flows, now, told, started = Flows(0.0), 0.0, Counter[int](), 0
    kernel = dict[int, Entry]()
    late = list[Entry]()  # news of deletions that the kernel still keeps
    for word, number in news:
        now += 0.3
        if word == "begun" and number not in kernel:
            started += 1
            kernel[number] = entry(number, ESTABLISHED, started)
            flows.begun(kernel[number], now)
        elif word == "ended" and number in kernel:
            kernel[number] = entry(number, TIME_WAIT, int(kernel[number].times[0]))
            if not lossy:
                flows.ended(kernel[number], now)
        elif word == "deleted" and number in kernel:
            late.append(kernel.pop(number))
        elif word == "heard" and late:
            told.update(lives(flows.deleted(late.pop(0), now)))
        elif word == "ask":
            answers = [(due, kernel.get(NUMBERS[due.key])) for due in flows.due(now)]
            if late and number == 1:  # read before the answers
                told.update(lives(flows.deleted(late.pop(0), now)))
            for due, answer in answers:
                told.update(lives(flows.answered(due, answer, now)))
        elif word == "list":
            flows.resync(kernel.values(), now)
    for left in (*late, *kernel.values()):
        told.update(lives(flows.deleted(left, now)))
    assert told == Counter(range(1, started + 1))


def lives(told: Iterator[Entry]) -> list[int]:
    return [int(one.times[0]) for one in told]


@given(st.binary(max_size=300))
def test_any_bytes_are_an_entry(data: bytes) -> None:
    found = Entry(b"\2\0\0\0" + data)
    flow(found, RESIDENTS, lambda _number: None, 0.0)
    assert isinstance(found.question, bytes)


def logged(prefix: str, size: int, port: int = 81) -> Logged:
    header = struct.pack("!BBHHHBBH", 0x45, 0, size, 0, 0, 64, 6, 0) + WEB.packed + OUTSIDE.packed
    packet = header + struct.pack("!HHLLBBHHH", 4000, port, 1, 0, 0x50, 2, 0, 0, 0)
    return Logged({2: struct.pack("!I", 9), 9: packet, 10: prefix.encode() + b"\0"}, 5.0)


def test_drops_of_one_rule_and_the_same_ends_are_put_together() -> None:
    found = drops.Drops()
    for size in (60, 1500):
        found.add(logged("web/never", size), 1.0)
    found.add(logged("web/never", 60, port=82), 1.5)
    assert not found.take(1.9)
    first, second = drops.flows(found.take(2.0), RESIDENTS, lambda mark: {9: "web"}.get(mark, ""))
    assert (first.app, first.rule, first.verdict, first.direction) == ("web", "never", Verdict.DROPPED, Direction.OUT)
    assert (first.sent_packets, first.sent_bytes, first.destination_port) == (2, 1560, 81)
    assert (second.sent_packets, second.destination_port) == (1, 82)
    assert not found.take(9.0)


def test_too_many_drops_are_put_together_by_their_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drops, "LIMIT", 10)
    found = drops.Drops()
    for port in range(100):
        found.add(logged("web/never", 60, port), 1.0)
    told = list(drops.flows(found.take(3.0), RESIDENTS, lambda _mark: ""))
    assert len(told) == 11
    assert sum(one.sent_packets for one in told) == 100


def test_an_address_of_anybody_is_no_apps() -> None:
    assert RESIDENTS.app(ip_address("192.0.2.1")) == ""
    assert RESIDENTS.addresses("web") == [WEB]
