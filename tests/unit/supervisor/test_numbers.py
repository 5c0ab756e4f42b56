"""Slots, subnets, names and numbers, and the pauses between deaths."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import names
from supervisor.allocation import first_slot, free_slot, free_subnet, uid_ranges
from supervisor.backoff import LOOP_DEATHS, MAX_DELAY, WINDOW, delay, is_crash_loop

POOL = IPv4Network("10.64.0.0/10")


def test_the_default_daemon_begins_at_slot_0_and_others_somewhere() -> None:
    assert first_slot("/var/lib/nsvisor") == 0
    assert 0 < first_slot("/srv/second") < names.SLOTS
    assert first_slot("/srv/second") == first_slot("/srv/second") != first_slot("/srv/third")


def test_a_slot_is_given_once() -> None:
    taken: set[int] = set()
    for _ in range(10):
        taken.add(free_slot(7, taken, [], 10))
    assert taken == set(range(10))
    with pytest.raises(LookupError, match="all 10 slots"):
        free_slot(7, taken, [], 10)


def test_the_uids_of_others_are_left_out() -> None:
    base = names.UID_POOL_FIRST
    assert free_slot(0, [], [range(base, base + 1)], 100) == 1
    assert free_slot(0, [], [range(base + 65535, base + 65537)], 100) == 2
    with pytest.raises(LookupError):
        free_slot(0, [], [range(2**32)], names.SLOTS)


def test_the_last_slot_is_the_hubs() -> None:
    with pytest.raises(LookupError):
        free_slot(0, set(range(names.SLOTS - 1)), [], names.SLOTS)
    assert names.HUB_UID in range(names.uid_base(names.SLOTS - 1), names.uid_base(names.SLOTS))


@given(st.sets(st.integers(0, 200), max_size=60), st.integers(0, 5000))
def test_a_free_slot_is_never_a_taken_one(taken: set[int], start: int) -> None:
    assert free_slot(start, taken, [], 300) not in taken


def test_a_free_subnet_overlaps_none() -> None:
    assert free_subnet(POOL, []) == IPv4Network("10.64.0.0/24")
    assert free_subnet(POOL, [IPv4Network("10.64.0.0/24"), IPv4Network("10.64.1.128/25")]) == IPv4Network(
        "10.64.2.0/24"
    )
    with pytest.raises(LookupError, match=r"no free subnet is left in settings\.subnet_pool"):
        free_subnet(IPv4Network("192.0.2.0/24"), [IPv4Network("192.0.2.7/32")])


def test_a_small_pool_is_one_subnet() -> None:
    assert free_subnet(IPv4Network("192.0.2.0/28"), []) == IPv4Network("192.0.2.0/28")


def test_subuid_is_read_and_nonsense_left_out() -> None:
    text = "user:100000:65536\n# comment\nbroken\nother:x:1\nlast:300000:1"
    assert uid_ranges(text) == [range(100000, 165536), range(300000, 300001)]


def test_link_addresses_are_a_pair_of_their_own() -> None:
    pool = IPv4Network("100.127.0.0/16")
    assert names.link_addresses(pool, 0) == (IPv4Interface("100.127.0.0/31"), IPv4Interface("100.127.0.1/31"))
    every = [end for slot in range(names.SLOTS) for end in names.link_addresses(pool, slot)]
    assert len(set(every)) == 2 * names.SLOTS
    assert every[-1].ip in pool


def test_names_fit_the_kernel() -> None:
    assert len(names.host_end("a" * 13)) == 15  # IFNAMSIZ - 1
    assert names.conf_sysctl("eth0", "forwarding") == "net.ipv4.conf.eth0.forwarding"
    assert names.conf_sysctl("eth0.5", "forwarding") == "net/ipv4/conf/eth0.5/forwarding"


def test_marks_are_of_16_bits_and_differ() -> None:
    assert names.uplink_mark(2) == 0x102
    assert names.uplink_mark(names.LAST_IFINDEX) == names.LAST_MARK < names.MARK_MASK
    assert names.uplink_mark(1) > names.MARK_HOST
    assert names.uplink_table(2) == 196002


def test_a_mac_is_local_unicast_and_always_the_same() -> None:
    mac = names.app_mac("red", "web")
    assert mac == names.app_mac("red", "web") != names.app_mac("blue", "web")
    assert int(mac[:2], 16) & 3 == 2


def test_one_death_costs_nothing_and_many_cost_more() -> None:
    assert delay([], 100.0) == delay([99.0], 100.0) == 0.0
    pauses = [delay([100.0] * deaths, 100.0) for deaths in range(2, 12)]
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_DELAY
    assert delay([0.0] * 9, WINDOW) == 0.0
    assert delay([100.0] * 5000, 100.0) == MAX_DELAY


def test_a_crash_loop_is_many_deaths_in_a_short_time() -> None:
    now = 1000.0
    assert is_crash_loop([now - 1] * LOOP_DEATHS, now)
    assert not is_crash_loop([now - 1] * (LOOP_DEATHS - 1), now)
    assert not is_crash_loop([now - WINDOW * number for number in range(LOOP_DEATHS * 2)], now)
