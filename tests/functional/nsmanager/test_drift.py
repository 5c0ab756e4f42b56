"""What somebody changes by hand is as planned again, since an event told of it; what isn't ours is left alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from nsmanager.manager import FREE_REPAIRS
from nsmanager.reconcile import PASSES
from tests.functional.nsmanager.rig import NAME, REPAIR, Rig
from tests.hosts import wait_until

FIRST_PAUSE = 0.05  # seconds; doubled before it is made for the first time

BY_HAND = (
    "ip link del br0",
    "ip link set br0 down",
    "ip link set up0 down",
    "ip link set lo down",
    "ip link set br0 mtu 1300",
    "ip link set up0 mtu 1300",
    "ip link set br0 address 02:00:00:00:00:99",
    "ip link set p-web nomaster",
    "ip link set p-web down",
    "ip addr del 10.1.0.1/24 dev br0",
    "ip addr flush dev up0",
    "ip neigh del 100.127.0.0 dev up0",
    "ip neigh replace 100.127.0.0 lladdr 02:00:00:00:00:01 dev up0 nud permanent",
    "ip route del default",
    "ip route replace default dev lo",
    "ip route add 192.0.2.0/24 via 100.127.0.0 proto 196",
    "sysctl -w net.ipv4.ip_forward=0",
    "sysctl -w net.ipv4.conf.up0.rp_filter=0",
    "sysctl -w net.ipv4.conf.all.accept_redirects=1",  # of which no event tells
    "sysctl -w net.bridge.bridge-nf-call-iptables=1",
    "nft delete table inet nsvisor",
    "nft flush ruleset",
    "nft delete table inet nsvisor_digest",
    "nft flush chain inet nsvisor forward",
    "nft insert rule inet nsvisor input accept",
    "nft delete element inet nsvisor portmap '{ tcp . 8080 }'",
    "nft add element inet nsvisor portmap '{ tcp . 8081 : 10.1.0.81 . 80 }'",
)
FOREIGN = """
ip link add br7 type bridge
ip addr add 192.0.2.1/32 dev br0
ip route add 198.51.100.0/24 dev br0
ip route add 203.0.113.0/24 dev br0 proto static
ip rule add pref 7 from 192.0.2.1 lookup 77
nft add table inet other
nft add chain inet other forward '{ type filter hook forward priority 10; }'
sysctl -w net.ipv4.conf.br0.proxy_arp=1
"""


@pytest.fixture
def planned(rig: Rig) -> str:
    """The state of a namespace that is as planned, with one app's port."""
    rig.publish(apps=(rig.app(ifname="p-web"),))
    rig.attach("web")
    rig.start()
    rig.wait_ready()
    return rig.state()


def test_drift_is_repaired(rig: Rig, planned: str) -> None:
    for command in BY_HAND:
        rig.inside(command)
        wait_until(lambda: rig.state() == planned, REPAIR, command)
    assert " ERROR " not in rig.log()


def test_somebody_who_undoes_all_makes_no_storm(rig: Rig, planned: str) -> None:
    """After the free repairs there is a pause between any two passes, each of which may repair it some times."""
    most = PASSES - 1  # repairs in one pass
    free = (FREE_REPAIRS + 1) * most
    undo = ["sh", "-c", "while :; do ip route del default 2> /dev/null; done"]
    undoing = rig.host.popen(undo, netns=NAME)
    try:
        wait_until(lambda: len(repairs(rig)) > free + 2 * most, what="repairs")
    finally:
        undoing.kill()
    times = repairs(rig)[free:]
    pauses = [later - earlier for earlier, later in zip(times, times[most:], strict=False)]
    assert min(pauses) >= timedelta(seconds=2 * FIRST_PAUSE), pauses
    wait_until(lambda: rig.state() == planned, REPAIR)
    rig.wait_ready()


def repairs(rig: Rig) -> list[datetime]:
    """Return the times at which the default route was made again, by the manager's log."""
    lines = [line for line in rig.log().splitlines() if "INFO ip route add default" in line]
    return [datetime.fromisoformat(" ".join(line.split()[:2])) for line in lines[1:]]


def test_foreign_objects_are_untouched(rig: Rig, planned: str) -> None:
    rig.inside(FOREIGN)
    before = rig.state() + rig.inside("ip rule")
    rig.inside("ip route del default")
    wait_until(lambda: rig.state() + rig.inside("ip rule") == before, REPAIR)
    rig.publish(hosts={})
    rig.wait_ready()
    rig.kill()
    rig.start()
    wait_until(lambda: rig.log().count("manager of red") == 2)
    rig.publish(apps=(rig.app(ifname="p-web"),), mtu=1400)
    rig.wait_ready()
    after = rig.state() + rig.inside("ip rule")
    assert after.replace("mtu 1400", "mtu 1500") == before
    assert planned != before
