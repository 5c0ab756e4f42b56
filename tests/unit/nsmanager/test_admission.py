"""How many connections of an instance are counted, and how many there may be."""

from __future__ import annotations

import re

import pytest

from nsmanager.firewall.admission import FROM_LINK, INSIDE, SAMPLE, Admission


def counted(limit: int, side: Admission = INSIDE) -> tuple[int, int]:
    """Return of how many connections one is counted, and how many of those there may be."""
    rules = "\n".join(side.connections(limit))
    one, most = re.search(r"0x([0-9a-f]+) == 0 add", rules), re.search(r"ct count over (\d+)", rules)
    assert most
    return int(one[1], 16) + 1 if one else 1, int(most[1])


@pytest.mark.parametrize("limit", [1, 255, 1000, SAMPLE])
def test_few_connections_are_counted_one_by_one(limit: int) -> None:
    assert counted(limit) == counted(limit, FROM_LINK) == (1, limit)
    assert not [line for line in INSIDE.kept(limit) if "full" in line]


@pytest.mark.parametrize("limit", [SAMPLE + 1, 10_000, 65_536, 1 << 20])
def test_many_are_at_most_a_quarter_more_than_the_limit(limit: int) -> None:
    of, most = counted(limit)
    assert limit <= of * most <= limit * 5 // 4
    assert of & (of - 1) == 0
    assert most <= SAMPLE * 5 // 4


def test_a_link_is_full_by_its_index_and_counted_by_its_name() -> None:
    """Another link of the same name isn't full; what was counted of the name goes on."""
    rules = "\n".join(FROM_LINK.connections(65_536))
    assert "{ iifname ct count over 1280 } update @full/65536 { iif } goto refusing" in rules
    assert "\niif @full/65536 " in rules
