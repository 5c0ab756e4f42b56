"""IPv6 that is changed by hand is as planned again; an unchanged instance is not written to."""

from __future__ import annotations

import pytest

from tests.functional.nsmanager.rig import REPAIR, RUN_DIR, Rig
from tests.functional.nsmanager.test_writes import carriers_are_known, monitored, traced, writer, writes
from tests.hosts import wait_until

BY_HAND = (
    "until ip link set up0 down && ip link set up0 name away; do :; done",  # before Linux 6.2 not while it is up
    "ip link del br0",
    "ip link set br0 down",
    "ip link set up0 down",
    "ip link set up0 address 02:00:00:00:00:99",
    "ip -6 addr del fd00:1::1/64 dev br0",
    "ip -6 addr flush dev br0",
    "ip -6 addr flush dev up0",
    "ip -6 neigh del fd6e:7376:6973::2 dev up0",
    "ip -6 route del default",
    "ip -6 route replace unreachable default",
    "ip -6 route add 2001:db8::/64 via fd6e:7376:6973::2 proto 196",
    "sysctl -w net.ipv6.conf.all.disable_ipv6=0",
    "sysctl -w net.ipv6.conf.br0.disable_ipv6=1",
    "sysctl -w net.ipv6.conf.all.forwarding=0",
    "sysctl -w net.ipv6.conf.br0.accept_ra=2",
    "nft flush ruleset",
    "nft delete element inet nsvisor portmap6 '{ tcp . 8080 }'",
)


@pytest.fixture
def planned(rig: Rig) -> str:
    """The state of a namespace with IPv6 that is as planned."""
    rig.with_ipv6()
    return rig.state()


def test_drift_is_repaired(rig: Rig, planned: str) -> None:
    for command in BY_HAND:
        rig.inside(command)
        wait_until(lambda: rig.state() == planned, REPAIR, command)
    errors = [line for line in rig.log().splitlines() if " ERROR " in line]
    assert [line for line in errors if "No such device" not in line] == []  # but of a link that just lost its name


def test_a_restarted_manager_and_an_unchanged_config_write_nothing(rig: Rig, planned: str) -> None:
    heartbeat = rig.host.path(f"{RUN_DIR}/instances/red/heartbeat")
    rig.publish(apps=())
    rig.inside("ip link del p-web")
    rig.wait_ready()
    wait_until(lambda: carriers_are_known(rig))
    assert "fd00:1::1/64" in planned
    with monitored(rig) as heard, traced(rig) as calls:
        rig.kill()
        rig.start()
        wait_until(lambda: writer(rig) == rig.pid, what="the new manager's status")
        rig.publish()
        beats = heartbeat.read_text()
        wait_until(lambda: heartbeat.read_text() != beats)
        rig.inside("ip -6 route add 2001:db8::/64 dev br0; nft add table inet seen")
        wait_until(lambda: "seen" in rig.inside("nft list tables"))
    assert "2001:db8::/64" in heard["ip"][0], heard["ip"]
    assert len([line for line in heard["ip"] if "2001:db8::/64" not in line]) == 0
    assert any("nlmsg_type=0x1a" in call for call in calls)  # routes were read
    assert not writes(calls)
