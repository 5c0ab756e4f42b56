"""What waits to be told, and how many records a second are."""

from __future__ import annotations

import pytest

from nsmanager import board


class Clock:
    """Time goes on as the test says."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(board, "time", made)
    return made


def add(records: board.Records[int], count: int) -> tuple[int, int]:
    """Add so many; return how many were taken and refused so far."""
    for number in range(count):
        records.add(number)
    return records.taken, records.refused


def test_a_flood_of_records_is_cut_to_the_limit_and_a_late_burst_is_not(clock: Clock) -> None:
    records = board.Records[int]()
    records.most = 5
    assert add(records, 60) == (50, 10)  # what comes in ten seconds may come at once
    clock.now += 1.0
    assert add(records, 10) == (55, 15)
    clock.now += 100.0
    assert add(records, 60) == (105, 25)


def test_a_limit_that_is_lowered_counts_from_then_on(clock: Clock) -> None:
    records = board.Records[int]()
    assert add(records, 1000) == (1000, 0)  # none
    records.most = 100
    assert add(records, 1000) == (2000, 0)
    records.most = 1
    assert add(records, 1) == (2000, 1)
    clock.now += 3.0
    assert add(records, 5) == (2003, 3)


def test_the_oldest_are_lost_when_nobody_takes_them() -> None:
    records = board.Records[int]()
    add(records, board.KEPT_RECORDS + 2)
    assert (len(records), records.lost, records[0]) == (board.KEPT_RECORDS, 2, 2)
