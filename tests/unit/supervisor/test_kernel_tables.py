"""How large the kernel's shared tables must be, and what one instance's share is."""

from __future__ import annotations

import msgspec

from pubsub.topics import LimitsConfig
from supervisor.kernel_tables import CONNECTIONS, LEAST_SHARE, NEIGHBOURS, PIDS, SIZES, TIMES, Tables
from tests.unit.supervisor.samples import SMALL, facts, planned, uplink

LIMITS = LimitsConfig()
SMALL_HOST = Tables(sizes=dict.fromkeys(SIZES, 64), ours=True, memory=64 << 30)


def sizes(tables: Tables, count: int) -> dict[str, int]:
    return {item.name: int(item.value) for item in tables.at_least([LIMITS] * count)}


def test_the_tables_hold_what_all_instances_may_want() -> None:
    found = sizes(SMALL_HOST, 20)
    assert found.keys() == set(SIZES)
    assert found[CONNECTIONS] >= 20 * TIMES * LIMITS.connections
    assert all(found[name] >= 20 * LIMITS.neighbours for name in NEIGHBOURS if name.endswith("3"))
    assert SMALL_HOST.share([LIMITS] * 20) == LIMITS.connections


def test_nothing_is_made_smaller() -> None:
    large = msgspec.structs.replace(SMALL_HOST, sizes=dict.fromkeys(SIZES, 1 << 30))
    assert sizes(large, 256) == {}
    one_is_small = msgspec.structs.replace(large, sizes={**large.sizes, PIDS: 32768})
    assert sizes(one_is_small, 256).keys() == {PIDS}


def test_outside_the_initial_namespace_nothing_is_changed_and_shares_shrink() -> None:
    tables = msgspec.structs.replace(SMALL_HOST, ours=False, sizes={CONNECTIONS: 262_144})
    assert sizes(tables, 256) == {}
    assert tables.share([LIMITS]) == LIMITS.connections
    shares = [tables.share([LIMITS] * count) for count in (1, 4, 64, 256)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == LEAST_SHARE
    assert 64 * shares[2] <= 262_144


def test_little_memory_makes_small_shares() -> None:
    little = msgspec.structs.replace(SMALL_HOST, memory=1 << 30)
    found = sizes(little, 256)
    assert found[CONNECTIONS] * 2 * 320 <= little.memory // 8
    assert little.share([LIMITS] * 16) < LIMITS.connections


def test_a_share_bounds_an_instance_in_the_hosts_table() -> None:
    host = msgspec.structs.replace(
        facts(uplink(), stand=("red", "blue")),
        tables=msgspec.structs.replace(SMALL_HOST, ours=False, sizes={CONNECTIONS: 1}),
    )
    table = planned({"red": SMALL, "blue": SMALL}, host).table
    assert table is not None
    assert dict(table.elements)["opens"] == tuple(f'"v-{name}" : jump opens-1024-1024' for name in ("blue", "red"))
    assert f"ct count over {LEAST_SHARE} }}" in table.text
