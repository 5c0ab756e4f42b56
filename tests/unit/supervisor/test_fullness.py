"""What is told of the kernel's tables."""

from __future__ import annotations

import logging
from typing import cast

import pytest

from nsmanager.namespace import Namespace
from supervisor.fullness import Fullness, entries
from supervisor.kernel_tables import CONNECTIONS

STATISTICS = """\
entries  allocs   destroys hash_grows lookups  hits     res_failed
000003e9  000003ea 00000001 00000000 00000000 00000000 00000000
000003e9  00000002 00000000 00000000 00000000 00000000 00000000
"""


class Kernel:
    """What `Fullness` asks of a namespace."""

    def __init__(self, used: int) -> None:
        self.used = used

    def read_sysctl(self, name: str) -> str | None:
        return {"net.netfilter.nf_conntrack_count": str(self.used), CONNECTIONS: "1000"}.get(name)


def test_the_entries_of_all_processors_are_counted_once() -> None:
    assert entries(STATISTICS) == 0x3E9


def test_a_table_that_is_nearly_full_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    fullness, told = Fullness(), []
    with caplog.at_level(logging.WARNING):
        for used in (100, 900, 950, 100, 900):
            [found] = [one for one in fullness.look(cast("Namespace", Kernel(used))) if one.name == "connections"]
            assert (found.used, found.limit) == (used, 1000)
            told.append(len(caplog.records))
    assert told == [0, 1, 1, 1, 2]
