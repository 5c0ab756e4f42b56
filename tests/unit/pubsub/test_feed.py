"""What the hub remembers for a reader that doesn't read, and in which order it tells."""

from __future__ import annotations

from pubsub.acl import Peer
from pubsub.hub_feed import CHURN, Feed, Marker
from pubsub.hub_stream import Cursor, Stream
from pubsub.hub_table import Owner, Table
from pubsub.limits import BATCH_LIMIT, KEY_LIMIT, VALUE_LIMIT
from pubsub.wire import Begin, Changes, Complete, Frame, Records, Restarted, Stale


def ignore(_: object) -> None:
    """Wake nobody."""


def follow(table: Table) -> Feed:
    feed = Feed(1, table, ignore)
    table.feeds.add(feed)
    return feed


def told(feed: Feed | Cursor) -> list[Frame]:
    frames = []
    while feed.has_more():
        frames.append(feed.next_frame())
    return frames


def owner() -> Owner:
    return Owner("client", "agent", Peer(0, 0, 1), "")


def test_a_snapshot_lies_between_its_markers_and_a_change_comes_once() -> None:
    table = Table("a/B")
    table.put("x", b"1")
    feed = follow(table)
    table.put("x", b"2")
    table.put("y", b"3")
    table.put("y", b"4")
    assert told(feed) == [
        Begin(1, "a/B", 0, 0.0),
        Changes(1, "a/B", 0, 4, (("x", b"2"),)),
        Complete(1, "a/B"),
        Changes(1, "a/B", 4, 4, (("y", b"4"),)),
    ]


def test_an_equal_value_is_no_change() -> None:
    table = Table("a/B")
    table.put("x", b"1")
    feed = follow(table)
    told(feed)
    assert not table.put("x", b"1")
    assert not table.put("unknown", None)
    assert not feed.has_more()
    assert table.sequence == 1


def test_batches_are_bounded_unless_a_single_value_is_larger() -> None:
    table = Table("a/B")
    for number in range(100):
        table.put(str(number), bytes(3000))
    table.put("big", bytes(VALUE_LIMIT))
    frames = [frame for frame in told(follow(table)) if isinstance(frame, Changes)]
    sizes = [sum(len(value or b"") for _, value in frame.entries) for frame in frames]
    assert max(sizes[:-1]) <= BATCH_LIMIT
    assert sizes[-1] == VALUE_LIMIT
    assert len(frames[-1].entries) == 1


def test_withdrawn_names_do_not_pile_up_a_new_snapshot_takes_their_place() -> None:
    table = Table("a/B")
    table.put("stays", b"1")
    feed = follow(table)
    told(feed)
    for number in range(10 * CHURN):
        table.put(str(number), b"1")
        table.put(str(number), None)
        assert len(feed._queue) <= 2 * len(table.entries) + CHURN + 2
    frames = told(feed)
    assert isinstance(frames[0], Begin)
    assert frames.index(Complete(1, "a/B")) < len(frames)


def test_writers_come_and_go() -> None:
    table = Table("a/B")
    table.claim(owner(), 5)
    feed = follow(table)
    told(feed)
    table.abandon(7.0)
    assert told(feed) == [Stale(1, "a/B", 7.0)]
    table.claim(owner(), 5)
    assert told(feed) == [Stale(1, "a/B", 0.0)]
    table.abandon(8.0)
    table.claim(owner(), 6)
    assert Restarted(1, "a/B", 2) in told(feed)
    assert table.starts == 2
    assert Marker.STALE not in feed._queue


def test_of_writers_that_come_and_go_unread_the_last_word_is_true() -> None:
    table = Table("a/B")
    table.claim(owner(), 5)
    feed = follow(table)
    told(feed)
    table.abandon(7.0)
    table.claim(owner(), 6)
    table.abandon(8.0)
    assert told(feed) == [Restarted(1, "a/B", 2), Stale(1, "a/B", 8.0)]
    table.claim(owner(), 7)
    table.abandon(9.0)
    table.claim(owner(), 8)
    assert told(feed) == [Stale(1, "a/B", 0.0), Restarted(1, "a/B", 4)]


def test_limits_count_what_a_key_replaces() -> None:
    table = Table("a/B")
    assert table.fits("x", bytes(VALUE_LIMIT))
    assert not table.fits("x", bytes(VALUE_LIMIT + 1))
    assert not table.fits("x" * (KEY_LIMIT + 1), b"")
    table.put("x", bytes(100))
    table.put("x", bytes(50))
    assert table.size == 51
    table.put("x", None)
    assert table.size == 0


def test_a_gap_in_a_streams_numbers_is_counted_and_told_by_the_next_number() -> None:
    stream = Stream("a/B", keep=10)
    stream.claim(owner(), 5)
    assert stream.append(1, (b"1", b"2")) == [(1, b"1"), (2, b"2")]
    assert stream.append(2, (b"2", b"3")) == [(3, b"3")]  # sent again after a reconnect
    assert stream.append(7, (b"7",)) == [(7, b"7")]
    assert stream.lost == 3
    cursor = Cursor(1, stream, 1, ignore)
    first, second = told(cursor)
    assert isinstance(first, Records)
    assert isinstance(second, Records)
    assert (first.first, first.records) == (1, (b"1", b"2", b"3"))
    assert (second.first, second.records) == (7, (b"7",))


def test_a_new_writers_numbers_follow_the_old_ones() -> None:
    stream = Stream("a/B", keep=2)
    stream.claim(owner(), 5)
    stream.append(1, (b"1", b"2", b"3"))
    stream.claim(owner(), 6)
    assert stream.append(1, (b"4",)) == [(4, b"4")]
    assert [number for number, _ in stream.records] == [3, 4]
