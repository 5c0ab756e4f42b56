"""How many connections the lists of an instance hold together."""

from __future__ import annotations

import re

import pytest

from nsmanager.firewall.admission import FEW, INSIDE


def lists(limit: int) -> tuple[int, int]:
    """Return on how many lists connections are counted, and how many each may hold."""
    found = re.search(r"ct id and 0x([0-9a-f]+) ct count over (\d+)", "\n".join(INSIDE.connections(limit)))
    assert found
    return int(found[1], 16) + 1, int(found[2])


@pytest.mark.parametrize("limit", [1, 255, 256, 512, 1000, FEW])
def test_few_connections_are_never_more_than_the_limit(limit: int) -> None:
    count, each = lists(limit)
    assert limit - count < count * each <= limit
    assert each <= 256


@pytest.mark.parametrize("limit", [FEW + 1, 10_000, 65_536, 1 << 20])
def test_many_are_at_most_a_quarter_more_than_the_limit(limit: int) -> None:
    count, each = lists(limit)
    assert limit <= count * each <= limit * 5 // 4
    assert count & (count - 1) == 0


def test_a_new_connection_looks_at_few_others() -> None:
    assert lists(65_536)[1] <= 80
