"""An uplink fails in each way there is: who may leave it does, nobody else notices, and it comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from pubsub.topics import State
from tests.functional.uplinks.conftest import ENDPOINTS
from tests.functional.uplinks.rig import WHO_PORT, Rig, ends
from tests.hosts import wait_until
from tests.hosts.topology import OUTSIDE


@dataclass(frozen=True)
class Failure:
    """What happens to eth0, and how it is mended."""

    cause: Callable[[Rig], object]
    mend: Callable[[Rig], object]
    words: str  # in the status of the uplink


def link_up(rig: Rig) -> None:
    rig.host.sh("ip link set eth0 up; ip route add default via 192.168.0.1 dev eth0")


def silence_endpoints(rig: Rig) -> None:
    for endpoint in ENDPOINTS:
        rig.cables[0].silence(endpoint)


FAILURES = {
    "link down": Failure(lambda rig: rig.host.sh("ip link set eth0 down"), link_up, "down or has no carrier"),
    "carrier lost": Failure(
        lambda rig: rig.cables[0].unplug(), lambda rig: rig.cables[0].plug(), "down or has no carrier"
    ),
    "address lost": Failure(
        lambda rig: rig.host.sh("ip addr flush dev eth0"), lambda rig: rig.cables[0].configure_host(0), "no address"
    ),
    "gateway silent": Failure(lambda rig: rig.cables[0].silence(), lambda rig: rig.cables[0].speak(), "192.168.0.1"),
    "endpoints silent": Failure(silence_endpoints, lambda rig: rig.cables[0].speak(), ENDPOINTS[0]),
}


def tracked(rig: Rig, instance: str, *what: object) -> set[str]:
    """Return the ids of an instance's tracked connections on the host."""
    link = rig.host.sh("ip -4 -o addr show up0", netns=instance).split()[3].partition("/")[0]
    listed = rig.host.run(["conntrack", "-L", "-o", "id", "-s", link, *what]).stdout
    return {line.rpartition("id=")[2].strip() for line in listed.splitlines()}


def lasting(rig: Rig, instance: str) -> set[str]:
    """Return those that a `held` and a `stream` hold."""
    tcp = tracked(rig, instance, "-p", "tcp", "--dport", WHO_PORT, "--state", "ESTABLISHED")
    return tcp | tracked(rig, instance, "-p", "udp", "--dport", 7)


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_the_affected_move_and_come_back_and_nobody_else_notices(moving: Rig, failure: Failure) -> None:
    before = moving.wait_bound("mover", "eth0")
    other = moving.wait_bound("other", "eth2")
    untouched = (other.uplink, other.uplink_since, other.since, other.pid, other.restarts)
    with moving.held("other/web", OUTSIDE, 8) as ask_others:
        flow = moving.stream("other/web")
        ask_others()
        others = lasting(moving, "other")
        assert len(others) >= 9
        moving.asker("mover/web")
        failure.cause(moving)
        try:
            after = moving.wait_bound("mover", "eth1")
            wait_until(lambda: not tracked(moving, "mover"), what="nothing sticks to the dead path")
            seen = moving.seen(
                "tcp port 80 and not net 198.51.100.8/29",
                lambda: moving.wait_asker("mover/web", "192.168.1.2"),
                moving.cables[1:2],
            )
            assert ends(seen["eth1"]) == {f"192.168.1.2 > {OUTSIDE}", f"{OUTSIDE} > 192.168.1.2"}
            assert after.uplink_since > before.uplink_since
            assert after.uplink_reason
            assert not moving.device("eth0").healthy
            assert failure.words in moving.device("eth0").reason
        finally:
            failure.mend(moving)
        again = moving.wait_bound("mover", "eth0")
        moving.wait_asker("mover/web", "192.168.0.2")
        assert again.uplink_since > after.uplink_since
        assert set(ask_others()) == {"192.168.2.2"}
        assert others <= lasting(moving, "other")
        counted = flow.stop()
    assert counted["lost"] == 0 < counted["received"], counted
    now = moving.status("other")
    assert (now.uplink, now.uplink_since, now.since, now.pid, now.restarts) == untouched


def test_without_another_uplink_all_wait_and_none_leaves_by_a_way_it_may_not(moving: Rig) -> None:
    moving.cables[2].unplug()
    try:
        wait_until(lambda: moving.status("other").state == State.WAITING, what="other waits")
        # Refused at once, by an answer; of more the kernel would send less than one a second.
        refused = moving.host.run(moving.inside("other/web", "ping", "-c", "1", "-W", "2", OUTSIDE), check=False)
        assert "Unreachable" in refused.stdout
        seen = moving.seen(f"host {OUTSIDE}", lambda: moving.asker("other/web", 2.0), moving.cables[:2])
        assert seen == {"eth0": [], "eth1": []}
        assert "eth2" in moving.status("other").reason
    finally:
        moving.cables[2].plug()
    moving.wait_bound("other", "eth2")
    moving.wait_asker("other/web", "192.168.2.2")


def test_a_connection_that_stood_before_does_not_go_on_by_another_uplink(moving: Rig) -> None:
    """It would have another source there: it is over, and whoever opens a new one gets through."""
    with moving.held("mover/web", OUTSIDE, 4, patience=5) as ask:
        assert set(ask()) == {"192.168.0.2"}
        moving.cables[0].unplug()
        try:
            moving.wait_bound("mover", "eth1")
            seen = moving.seen("tcp port 9000 and src 192.168.0.2", ask, moving.cables[1:])
            assert seen == {"eth1": [], "eth2": []}
        finally:
            moving.cables[0].plug()
    moving.wait_bound("mover", "eth0")


def test_one_of_three_endpoints_silent_moves_nobody(moving: Rig) -> None:
    before = moving.wait_bound("mover", "eth0")
    moving.cables[0].silence(ENDPOINTS[2])
    try:
        wait_until(
            lambda: any(not probe.up and ENDPOINTS[2] in probe.name for probe in moving.device("eth0").probes),
            what="the endpoint is found silent",
        )
        assert moving.device("eth0").healthy
        assert moving.status("mover").uplink_since == before.uplink_since
    finally:
        moving.cables[0].speak()
