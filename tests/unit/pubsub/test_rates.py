"""What a uid may send a second, by a clock of the test's own."""

from __future__ import annotations

from pubsub.acl import Rate
from pubsub.hub_rates import BURST, PATIENCE, SHUT_OUT, Rates

RED, ROOT = 1001, 0
RATE = Rate(messages=100, bytes=10_000)
BURST_MESSAGES = int(BURST * RATE.messages)


def rates() -> Rates:
    return Rates({RED: RATE}.get)


def admitted(of: Rates, count: int, now: float, size: int = 1, uid: int = RED) -> int:
    return sum(of.admit(uid, b"route", size, now) for _ in range(count))


def test_a_burst_passes_and_what_is_over_it_does_not() -> None:
    found = rates()
    assert admitted(found, 10 * BURST_MESSAGES, 1.0) == BURST_MESSAGES
    assert admitted(found, 10 * BURST_MESSAGES, 1.0, uid=ROOT) == 10 * BURST_MESSAGES


def test_who_keeps_to_its_rate_is_never_dropped() -> None:
    found = rates()
    for second in range(1, 100):
        assert admitted(found, RATE.messages, float(second)) == RATE.messages
    assert found.recovered(100.0) == []


def test_bytes_count_and_a_large_message_is_paid_for_afterwards() -> None:
    found = rates()
    assert admitted(found, 1, 1.0, size=50_000) == 1
    assert admitted(found, 1, 3.9) == 0  # 30,000 over: three seconds
    assert admitted(found, 1, 4.1) == 0  # not before it was greeted anew
    assert found.recovered(4.1) == []
    assert found.recovered(5.0) == [b"route"]
    assert admitted(found, 1, 5.0) == 1


def test_a_dropped_client_is_greeted_anew_once_there_is_room_again() -> None:
    found = rates()
    admitted(found, BURST_MESSAGES + 1, 1.0)
    assert found.recovered(1.5) == []
    assert found.recovered(2.0) == [b"route"]
    assert found.recovered(2.0) == []
    assert admitted(found, RATE.messages, 2.0) == RATE.messages


def test_who_goes_on_is_shut_out_once_and_let_in_later() -> None:
    found = rates()
    admitted(found, BURST_MESSAGES + PATIENCE * RATE.messages, 1.0)
    assert not found.excessive(RED, 1.0)
    admitted(found, 1, 1.0)
    assert found.excessive(RED, 1.0)
    assert not found.excessive(RED, 1.0)
    assert found.is_shut_out(RED, SHUT_OUT)
    assert found.recovered(SHUT_OUT) == []
    assert not found.is_shut_out(RED, 1.1 + SHUT_OUT)
    assert found.recovered(1.1 + SHUT_OUT) == [b"route"]


def test_few_large_messages_are_as_excessive_as_many_small_ones() -> None:
    found = rates()
    admitted(found, 2 + 2 * PATIENCE, 1.0, size=RATE.bytes)
    assert found.excessive(RED, 1.0)


def test_who_is_bounded_no_more_is_greeted_at_once_and_forgotten() -> None:
    granted = {RED: RATE}
    found = Rates(granted.get)
    admitted(found, BURST_MESSAGES + 1, 1.0)
    granted.clear()
    assert found.recovered(1.1) == [b"route"]
    assert admitted(found, 1, 1.1) == 1
    assert found.report(5.0) == {}


def test_little_is_not_reported_unless_something_was_dropped() -> None:
    found = rates()
    admitted(found, 5, 1.0)
    assert found.report(5.0) == {}
    admitted(found, 2 * BURST_MESSAGES, 1.0)
    [(messages, _, dropped, shut_out)] = found.report(5.0).values()
    assert (messages, dropped, shut_out) == (round(2 * BURST_MESSAGES / 5), BURST_MESSAGES + 5, 0)
    assert found.report(5.0) == {RED: (0, 0, BURST_MESSAGES + 5, 0)}
