"""When results make a probe up or down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.probing.track import (
    FLAP_WINDOW,
    HISTORY,
    LOST,
    MOST_DAMPING,
    STEADY,
    Counts,
    Result,
    Track,
    advance,
    anew,
    answers_needed,
)

COUNTS = Counts(down=4, up=3)
ANSWER = Result(latency=1.5)
FAILURE = Result(error="no ARP reply within 1s")
START = 1_700_000_000.0  # seconds since the epoch


def after(results: str, track: Track = Track(), now: float = START) -> Track:  # noqa: B008 (frozen)
    """Return the track after results, one a second: `+` an answer, `-` a failure."""
    for number, result in enumerate(results):
        track = advance(track, ANSWER if result == "+" else FAILURE, COUNTS, now + number)
    return track


def states(results: str, track: Track = Track()) -> str:  # noqa: B008 (frozen)
    """Return the state after each result: U or D."""
    found = ""
    for number, result in enumerate(results):
        track = after(result, track, START + number)
        found += "U" if track.up else "D"
    return found


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ("", ""),
        ("----", "UUUD"),  # used until it is proven bad
        ("---+----", "UUUUUUUD"),  # in a row
        ("----+++", "UUUDDDU"),
        ("----++-+++", "UUUDDDDDDU"),
        ("----+++----+++++++++", "UUUDDDUUUUD" + "D" * 9),  # the second time 12 answers are needed
        ("----+++----" + "+" * 12, "UUUDDDUUUUD" + "D" * 11 + "U"),
    ],
)  # fmt: skip
def test_enough_equal_results_in_a_row_change_the_state(results: str, expected: str) -> None:
    assert states(results) == expected


def test_a_steady_state_ends_with_the_first_contrary_result() -> None:
    assert after("+" * (STEADY - 1) + "-").up
    assert not after("+" * STEADY + "-").up
    assert not after("-" * (STEADY - 1) + "+").up
    assert after("-" * STEADY + "+").up
    assert after("+" * (STEADY - 1) + "-" + "+" * (STEADY - 1) + "-").up


def test_a_steady_state_of_one_that_flaps_does_not_end_so_fast() -> None:
    flapped = after("----+++" + "-" * STEADY)
    assert not after("+" * 11, flapped, START + 60).up
    assert after("+" * 12, flapped, START + 60).up


def test_each_flip_doubles_the_answers_needed_for_ten_minutes() -> None:
    track, needed = Track(), []
    for _ in range(6):
        track = after("----", track)
        needed.append(answers_needed(track, COUNTS, START))
        track = after("+" * needed[-1], track)
        assert track.up
    assert needed == [3, 12, 48, 96, 96, 96]
    assert max(needed) == COUNTS.up * MOST_DAMPING
    down = after("----", track)
    assert answers_needed(down, COUNTS, START + 2 * FLAP_WINDOW) == COUNTS.up
    assert after("+++", down, START + 2 * FLAP_WINDOW).up


def test_a_link_that_changed_keeps_its_state_but_is_not_steady() -> None:
    steady = after("+" * STEADY)
    changed = anew(steady)
    assert (changed.up, changed.history, changed.latency) == (True, steady.history, 1.5)
    assert [after("-" * count, changed).up for count in (3, 4)] == [True, False]
    down = anew(after("--" + "-" * STEADY))
    assert [after("+" * count, down).up for count in (0, 1, 2, 3)] == [False, False, False, True]


def test_times_latency_error_and_history_are_those_of_the_results() -> None:
    track = after("++")
    assert (track.since, track.at, track.latency, track.error) == (START, START + 1, 1.5, "")
    track = after("----", track, START + 10)
    assert (track.since, track.at, track.latency, track.error) == (START + 13, START + 13, 1.5, FAILURE.error)
    assert track.history == (1.5, 1.5, LOST, LOST, LOST, LOST)
    track = after("+" * 100, track)
    assert track.history == (1.5,) * HISTORY


@given(st.text("+-", max_size=300), st.integers(1, 5), st.integers(1, 5))
def test_the_state_changes_only_by_a_result_of_its_kind_and_a_row_that_suffices(
    results: str, down: int, up: int
) -> None:
    track, counts = Track(), Counts(down, up)
    for number, sign in enumerate(results):
        before, track = track, advance(track, ANSWER if sign == "+" else FAILURE, counts, START + number)
        if track.up != before.up:
            assert track.up == (sign == "+")
            assert track.run >= (up if track.up else down) or before.run >= STEADY
            assert track.since == START + number
        assert len(track.history) <= HISTORY
        if track.run >= up * MOST_DAMPING and sign == "+":
            assert track.up  # however it flapped
        if track.run >= down and sign == "-":
            assert not track.up
