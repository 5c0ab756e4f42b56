"""DNS as it is seen on the wire: messages, TCP's segments, queries and answers, how long addresses stay."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsmanager.dns.hosts import SHORTEST, Hosts, matching
from nsmanager.dns.message import AAAA, CNAME, A, Malformed, Message, Record, parse
from nsmanager.dns.queries import PATIENCE, Answered, Queries, record
from nsmanager.dns.segments import EARLY, HELD, Segments
from nsmanager.nflog import Logged
from nsmanager.packets import ACK, FIN, RST, SYN, TCP, Packet
from nsmanager.packets import parse as parse_packet

APP, ROUTER = IPv4Address("10.1.0.80"), IPv4Address("10.1.0.1")
TEST = b"\3www\4Test\0"


def header(answers: int = 0, flags: int = 0x0100, questions: int = 1) -> bytes:
    return struct.pack("!HHHHHH", 7, flags, questions, answers, 0, 0)


def resource(kind: int, data: bytes, ttl: int = 60, name: bytes = b"\xc0\x0c") -> bytes:
    return name + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


QUESTION = TEST + struct.pack("!HH", A, 1)
QUERY = header() + QUESTION


def answer(*records: bytes, flags: int = 0x8180) -> bytes:
    return header(len(records), flags) + QUESTION + b"".join(records)


def test_a_query_and_an_answer() -> None:
    assert parse(QUERY) == Message(7, False, 0, "www.test", A)
    found = parse(
        answer(
            resource(CNAME, b"\5other\xc0\x10"),
            resource(A, APP.packed, name=b"\5other\xc0\x10"),
            resource(AAAA, IPv6Address("2001:db8::1").packed, ttl=9),
            resource(16, b"\3abc"),
        )
    )
    assert found.is_answer
    assert [(one.type, one.ttl, one.value) for one in found.answers] == [
        (CNAME, 60, "other.test"), (A, 60, APP), (AAAA, 9, IPv6Address("2001:db8::1")), (16, 60, "TXT"),
    ]  # fmt: skip


def test_names_with_strange_bytes_can_be_told_from_others() -> None:
    assert parse(header() + b"\4a.b\0\4test\0" + b"\0\1\0\1").name == r"a\046b\000.test"


@pytest.mark.parametrize(
    "raw",
    [
        b"", QUERY[:-1], header(questions=2) + QUESTION, header() + b"\xc0\x0c\0\1\0\1",
        header() + b"\x80www\0\0\1\0\1", header() + b"\x3f" + b"a" * 20,
        header() + (b"\x3f" + b"a" * 63) * 5 + b"\0\0\1\0\1",
        answer(resource(A, b"abc")), answer(resource(AAAA, APP.packed)), answer(resource(A, APP.packed))[:-1],
        answer(resource(CNAME, TEST + b"x")), answer(resource(A, APP.packed, name=b"\xff\xff")),
    ],
)  # fmt: skip
def test_what_is_not_as_the_rfc_has_it_is_no_message(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse(raw)


def test_of_a_message_that_was_cut_off_what_is_whole_counts() -> None:
    raw = header(2, 0x8380) + QUESTION + resource(A, APP.packed)
    assert len(parse(raw).answers) == 1


@given(st.binary(max_size=600))
def test_any_bytes_are_a_message_or_malformed(raw: bytes) -> None:
    for data in (raw, QUERY + raw, header(3, 0x8180) + QUESTION + raw):
        try:
            assert len(parse(data).name) <= 255 * 4
        except Malformed:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_none(raw: bytes) -> None:
    for data in (raw, b"\x45" + raw, b"\x60" + raw):
        parse_packet(data)


def segment(sequence: int, data: bytes = b"", flags: int = ACK, port: int = 4000) -> Packet:
    return Packet(APP, ROUTER, TCP, 40 + len(data), port, 53, sequence, flags, data)


FRAMED = struct.pack("!H", len(QUERY)) + QUERY


@given(st.lists(st.integers(0, 2 * len(FRAMED)), max_size=6), st.randoms(use_true_random=False))
def test_segments_in_any_order_and_twice_are_the_messages(cuts: list[int], random: object) -> None:
    start = 2**32 - 20  # goes over the end of the numbers
    stream = FRAMED * 2
    edges = sorted({0, len(stream), *cuts})
    pieces = [(edges[i], stream[edges[i] : edges[i + 1]]) for i in range(len(edges) - 1)]
    pieces += pieces[:2]
    random.shuffle(pieces)  # type: ignore[attr-defined]  # of Hypothesis
    segments = Segments()
    assert not list(segments.add(segment(start - 1, flags=SYN)))
    found = [raw for at, data in pieces for raw in segments.add(segment((start + at) % 2**32, data))]
    assert found == [QUERY, QUERY]


def test_a_connection_that_was_not_seen_from_its_beginning_is_left_out() -> None:
    assert not list(Segments().add(segment(5, FRAMED)))


def test_what_cannot_be_held_is_forgotten() -> None:
    segments = Segments()
    list(segments.add(segment(0, flags=SYN)))
    for number in range(EARLY + 1):
        assert not list(segments.add(segment(10 + 2 * number, b"x")))
    assert not list(segments.add(segment(1, FRAMED)))
    list(segments.add(segment(0, flags=SYN)))
    for number in range(HELD // 1000 + 1):
        list(segments.add(segment(5000 + 1000 * number, b"x" * 1000)))
    assert not list(segments.add(segment(1, FRAMED)))


@pytest.mark.parametrize("flag", [FIN, RST])
def test_after_the_end_there_is_nothing(flag: int) -> None:
    segments = Segments()
    list(segments.add(segment(0, flags=SYN)))
    assert list(segments.add(segment(1, FRAMED, flags=flag))) == [QUERY]
    assert not list(segments.add(segment(1 + len(FRAMED), FRAMED)))


def logged(payload: bytes, at: float, *, answers: bool = False, mark: int = 9) -> Logged:
    ends = (ROUTER, APP) if answers else (APP, ROUTER)
    ports = (53, 4000) if answers else (4000, 53)
    size = 28 + len(payload)
    packet = struct.pack("!BBHHHBBH", 0x45, 0, size, 0, 0, 64, 17, 0) + ends[0].packed + ends[1].packed
    packet += struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    return Logged({2: struct.pack("!I", mark), 9: packet}, at)


def test_a_query_and_its_answer_are_one_record() -> None:
    queries = Queries()
    assert not list(queries.add(logged(QUERY, 5.0)))
    message, found = queries.add(logged(answer(resource(A, APP.packed)), 5.25, answers=True, mark=0))
    assert isinstance(message, Message) and isinstance(found, Answered)
    told = record(found, "web")
    assert (told.app, told.source.ip, told.name, told.type, told.code) == ("web", APP, "www.test", "A", "NOERROR")
    assert (told.answers, told.ttl, told.latency, told.at) == (("10.1.0.80",), 60, 250.0, 5.0)
    assert found.asked.mark == 9


def test_a_query_without_an_answer_is_told_after_a_while() -> None:
    queries = Queries()
    list(queries.add(logged(QUERY, 5.0)))
    assert not list(queries.unanswered(5.0 + PATIENCE / 2))
    [found] = queries.unanswered(5.0 + PATIENCE)
    assert record(found, "web").code == ""


def test_an_answer_to_nobody_is_no_record() -> None:
    [only] = Queries().add(logged(answer(), 5.0, answers=True))
    assert isinstance(only, Message)


def test_what_an_app_sends_is_no_answer() -> None:
    assert not list(Queries().add(logged(answer(resource(A, APP.packed)), 5.0)))


def test_the_sets_of_a_name_are_those_of_what_it_lies_below() -> None:
    sets = {"test": ("h4_t", "h6_t"), "www.test": ("h4_w", "h6_w"), "ww.test": ("h4_x", "h6_x")}
    assert matching("a.www.test", sets) == [("h4_w", "h6_w"), ("h4_t", "h6_t")]
    assert matching("awww.test", sets) == [("h4_t", "h6_t")]
    assert matching("testing", sets) == []


def resolved(*records: Record, name: str = "www.test") -> Message:
    return Message(1, True, 0, name, A, records)


def test_an_answer_gives_its_addresses_their_time_in_one_transaction() -> None:
    hosts = Hosts({"test": ("h4_t", "h6_t")})
    records = (Record("x", CNAME, 5, "y.test"), Record("y", A, 300, APP), Record("y", AAAA, 0, IPv6Address("::2")))
    assert hosts.commands(resolved(*records), 0.0) == [
        "add element inet nsvisor h4_t { 10.1.0.80 timeout 300s }",
        "delete element inet nsvisor h4_t { 10.1.0.80 }",
        "add element inet nsvisor h4_t { 10.1.0.80 timeout 300s }",
        f"add element inet nsvisor h6_t {{ ::2 timeout {SHORTEST}s }}",
        "delete element inet nsvisor h6_t { ::2 }",
        f"add element inet nsvisor h6_t {{ ::2 timeout {SHORTEST}s }}",
    ]
    assert hosts.commands(resolved(*records, name="other.example"), 0.0) == []


def test_an_address_stays_as_long_as_the_longest_of_its_answers() -> None:
    hosts = Hosts({"test": ("h4_t", "h6_t")})
    hosts.commands(resolved(Record("a", A, 300, APP)), 0.0)
    assert "timeout 290s" in hosts.commands(resolved(Record("b", A, 5, APP), name="b.test"), 10.0)[0]
    assert "timeout 5s" in hosts.commands(resolved(Record("b", A, 5, APP), name="b.test"), 1000.0)[0]
