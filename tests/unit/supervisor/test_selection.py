"""Which uplink an instance uses."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from supervisor.facts import Facts
from supervisor.names import LAST_IFINDEX
from supervisor.uplinks.selection import select
from tests.unit.supervisor.samples import SMALL, facts, uplink

BOTH = facts(uplink(), uplink(1))


@pytest.mark.parametrize(
    ("wanted", "host", "ifname", "reason"),
    [
        (None, BOTH, "eth0", ""),
        (None, facts(uplink(), uplink(1), default="eth1"), "eth1", ""),
        (None, facts(), None, "the host has no default route"),
        ((), BOTH, None, ""),
        (("eth1",), BOTH, "eth1", ""),
        (("eth1", "eth0"), BOTH, "eth1", ""),
        (("eth9", "eth0"), BOTH, "eth0", ""),
        (("eth9",), BOTH, None, "uplink 'eth9' does not exist; known: eth0, eth1"),
        (("eth9",), facts(), None, "known: none"),
        (("eth0",), facts(uplink(up=False)), "eth0", "uplink eth0 is down or has no carrier"),
        (("eth0",), facts(uplink(addressed=False)), "eth0", "uplink eth0 has no IPv4 address"),
        (("eth0", "eth1"), facts(uplink(up=False), uplink(1)), "eth1", ""),
        (("eth0", "eth1"), facts(uplink(up=False), uplink(1, up=False)), "eth0", "eth0 is down"),
    ],
)
def test_the_selection(wanted: tuple[str, ...] | None, host: Facts, ifname: str | None, reason: str) -> None:
    found = select(msgspec.structs.replace(SMALL, uplinks=wanted), host)
    assert (found.uplink.ifname if found.uplink else None) == ifname
    assert (reason in found.reason) if reason else not found.reason


def test_an_ifindex_without_a_mark_is_told_of() -> None:
    host = facts(dataclasses.replace(uplink(), ifindex=LAST_IFINDEX + 1))
    found = select(SMALL, host)
    assert found.uplink is None
    assert "the ifindex of eth0 is above" in found.reason


def test_no_instance_leaves_by_an_uplink_that_it_does_not_name() -> None:
    found = select(msgspec.structs.replace(SMALL, uplinks=("eth1",)), facts(uplink(), uplink(1, up=False)))
    assert found.uplink is not None
    assert found.uplink.ifname == "eth1"
