"""Which uplink an instance uses."""

from __future__ import annotations

import msgspec
import pytest

from pubsub.topics import UplinkConfig
from supervisor.facts import Facts, Health, Uplink
from supervisor.names import LAST_IFINDEX
from supervisor.uplinks.selection import Selection, candidates, select
from tests.unit.supervisor.samples import facts, uplink

BOTH = facts(uplink(), uplink(1))
SILENT = Health(healthy=False, reason="gateway 192.0.0.1 is silent")
DEAD = Health(healthy=False, reason="no endpoint answers")
COSTS = {"eth0": UplinkConfig(cost=10, labels=("lte",)), "eth1": UplinkConfig(labels=("wan", "fast"))}


def chosen(found: Selection) -> str | None:
    return found.uplink.ifname if found.uplink else None


def without_route(number: int) -> Uplink:
    return msgspec.structs.replace(uplink(number), routes=())


def sick(*, eth0: Health | None = None, eth1: Health | None = None) -> Facts:
    health = {"eth0": eth0 or Health(), "eth1": eth1 or Health()}
    return facts(uplink(), uplink(1), health=health)


@pytest.mark.parametrize(
    ("wanted", "host", "ifname", "reason"),
    [
        (None, BOTH, "eth0", ""),
        (None, facts(without_route(0), uplink(1)), "eth1", ""),
        (None, facts(), None, "the host has no default route"),
        ((), BOTH, None, ""),
        (("eth1",), BOTH, "eth1", ""),
        (("eth1", "eth0"), BOTH, "eth1", ""),
        (("eth9", "eth0"), BOTH, "eth0", ""),
        (("eth9",), BOTH, None, "uplink 'eth9' does not exist; known: eth0, eth1"),
        (("eth9",), facts(), None, "known: none"),
        (("eth0",), facts(uplink(up=False)), "eth0", "uplink eth0 is down or has no carrier"),
        (("eth0",), facts(uplink(addressed=False)), "eth0", "uplink eth0 has no address"),
        (("eth0", "eth1"), facts(uplink(up=False), uplink(1)), "eth1", ""),
        (("eth0", "eth1"), facts(uplink(up=False), uplink(1, up=False)), "eth0", "eth0 is down"),
        (None, sick(eth0=SILENT), "eth1", ""),
        (("eth0",), sick(eth0=SILENT), "eth0", "gateway 192.0.0.1 is silent"),
        # None healthy: rather one that may work than one that can't.
        (None, facts(uplink(up=False), uplink(1), health={"eth1": SILENT}), "eth1", "silent"),
    ],
)
def test_the_selection(wanted: tuple[str, ...] | None, host: Facts, ifname: str | None, reason: str) -> None:
    found = select(wanted, candidates(host, {}))
    assert chosen(found) == ifname
    assert (reason in found.reason) if reason else not found.reason


@pytest.mark.parametrize(
    ("wanted", "host", "ifname", "why"),
    [
        (None, BOTH, "eth1", "the lowest cost (0) of 2"),
        (("lte",), BOTH, "eth0", "the only one"),
        (("lte", "wan"), BOTH, "eth1", "the lowest cost"),
        (("fast", "eth1"), BOTH, "eth1", "the only one"),
        (None, sick(eth1=DEAD), "eth0", "no endpoint answers"),
        (None, sick(eth0=DEAD, eth1=SILENT), "eth1", "none is healthy"),
    ],
)
def test_cost_counts_among_the_healthy(wanted: tuple[str, ...] | None, host: Facts, ifname: str, why: str) -> None:
    found = select(wanted, candidates(host, COSTS))
    assert chosen(found) == ifname
    assert why in found.why


def test_of_equal_cost_who_has_most_endpoints_up_then_the_present_one() -> None:
    assert chosen(select(None, candidates(BOTH, {}), "eth1")) == "eth1"
    assert select(None, candidates(BOTH, {}), "eth1").why == "was selected before"
    more = facts(uplink(), uplink(1), health={"eth0": Health(endpoints_up=2), "eth1": Health(endpoints_up=1)})
    assert chosen(select(None, candidates(more, {}), "eth1")) == "eth0"
    assert select(None, candidates(more, {}), "eth1").why == "most endpoints up (2)"


def test_a_cheaper_one_that_is_well_again_is_taken_again() -> None:
    assert chosen(select(None, candidates(BOTH, COSTS), "eth0")) == "eth1"


def test_a_configured_uplink_needs_no_default_route_to_be_one_of_all() -> None:
    host = facts(uplink(), without_route(1), without_route(2))
    eligible = select(None, candidates(host, {"eth1": UplinkConfig()})).eligible
    assert [one.ifname for one in eligible] == ["eth0", "eth1"]


def test_connections_are_shared_by_the_healthy_of_the_lowest_cost() -> None:
    host = facts(uplink(), uplink(1), uplink(2), uplink(3, up=False))
    known = candidates(host, {"eth2": UplinkConfig(cost=1)})
    assert [one.ifname for one in select(None, known, balance=True).shared] == ["eth0", "eth1"]
    assert [one.ifname for one in select(None, known).shared] == ["eth0"]


def test_an_ifindex_without_a_mark_is_told_of() -> None:
    host = facts(msgspec.structs.replace(uplink(), ifindex=LAST_IFINDEX + 1))
    for names in (None, ("eth0",)):
        found = select(names, candidates(host, {}))
        assert found.uplink is None
        assert "the ifindex of eth0 is above" in found.reason


def test_no_instance_leaves_by_an_uplink_that_it_does_not_name() -> None:
    found = select(("eth1",), candidates(facts(uplink(), uplink(1, up=False)), {}))
    assert chosen(found) == "eth1"
    assert [one.ifname for one in found.eligible] == ["eth1"]
