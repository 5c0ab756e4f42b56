"""`balance: true`: new connections are spread over equal uplinks, and each stays where it is."""

from __future__ import annotations

from collections import Counter

from tests.functional.uplinks.rig import Rig
from tests.hosts import wait_until
from tests.hosts.topology import OUTSIDE

CONNECTIONS = 64
BOTH = {"192.168.1.2", "192.168.2.2"}


def test_connections_are_spread_and_each_stays_on_its_uplink(moving: Rig) -> None:
    wait_until(lambda: moving.status("even").uplinks == ("eth1", "eth2"), what="both uplinks in use")
    with moving.held("even/web", OUTSIDE, CONNECTIONS) as ask:
        told = ask()
        spread = Counter(told)
        assert set(spread) == BOTH, spread
        assert min(spread.values()) >= CONNECTIONS // 4, spread
        for _ in range(3):
            assert ask() == told


def test_when_one_fails_its_share_goes_to_the_other_and_the_others_stay(moving: Rig) -> None:
    wait_until(lambda: moving.status("even").uplinks == ("eth1", "eth2"), what="both uplinks in use")
    with moving.held("even/web", OUTSIDE, 16, patience=5) as ask:
        told = ask()
        moving.cables[2].unplug()
        try:
            wait_until(lambda: moving.status("even").uplinks == ("eth1",), what="one uplink in use")
            after = ask()
            assert [one for one in after if one == "192.168.1.2"] == [one for one in told if one == "192.168.1.2"]
            assert not [one for one in after if one == "192.168.2.2"]
            with moving.held("even/web", OUTSIDE, 16) as ask_new:
                assert set(ask_new()) == {"192.168.1.2"}
        finally:
            moving.cables[2].plug()
    wait_until(lambda: moving.status("even").uplinks == ("eth1", "eth2"), what="both uplinks in use again")
    moving.host.sh("ping -q -c 1 -w 60 -I eth2 192.168.2.1")  # who lies behind may need a moment longer
    with moving.held("even/web", OUTSIDE, 16) as ask:
        assert set(ask()) == BOTH
