"""Invariant 5: everything of ours is marked; what is somebody else's is told of and left alone, names prove nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pubsub.topics import NetworkInstanceStatus, State
from tests.hosts import RULESET, Host, wait_until
from tests.invariants.rig import Rig

INSTANCES = {
    "red": {"subnet": "10.1.0.0/24"},
    "green": {"subnet": "10.2.0.0/24"},  # somebody else has a namespace of that name
    "yellow": {"subnet": "10.3.0.0/24"},  # and a link v-yellow
}
STRANGERS = """
ip netns add green
ip -n green link add br0 type bridge
ip -n green addr add 192.0.2.1/24 dev br0
ip netns exec green nft add table inet nsvisor
ip link add v-yellow type bridge
ip addr add 192.0.2.9/32 dev v-yellow
ip route add 203.0.113.0/24 dev eth0 proto static
ip rule add pref 7 from 192.0.2.7 lookup 77
nft add table inet other
"""
# What a host is: compared with itself. Counters, ages and the kernel's own caches are left out.
HOST = f"""
ip -o link | sed 's/^[0-9]*: //; s/state [A-Z]*//; s/NO-CARRIER,//; s/,LOWER_UP//'
ip -o -4 addr; ip rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all proto 196
ip neigh show nud permanent
{RULESET}
ls /run/netns; mount | grep netns/ || true
find /run/nsvisor | sort
cd /proc/sys/net/ipv4; grep -r . conf ip_forward 2> /dev/null | sort
cd ../ipv6; grep . conf/*/forwarding conf/*/force_forwarding conf/*/accept_ra 2> /dev/null | sort
"""
STRANGE_NAMESPACE = (
    "ip -o link; ip -o addr; ip route show table all; nft list ruleset; sysctl -a 2> /dev/null | grep conf"
)
STRANGE_LINK = """
ip -o link show v-yellow; ip -o addr show v-yellow; ip route show table all dev v-yellow
grep -r . /proc/sys/net/ipv4/conf/v-yellow /proc/sys/net/ipv6/conf/v-yellow/disable_ipv6
"""
LEFT_BY_DOWN = {"/run/nsvisor", "/run/nsvisor/supervisor.lock"}  # a lock file can't be removed without a race


def snapshot(host: Host) -> list[str]:
    """Return all that one of our traces could be in."""
    return host.sh(HOST, check=False).splitlines()


def strangers(host: Host) -> dict[str, str]:
    """Return what belongs to somebody else, in every detail."""
    return {
        "namespace": host.sh("stat -Lc %i /run/netns/green") + host.sh(STRANGE_NAMESPACE, netns="green"),
        "link": host.sh(STRANGE_LINK),
    }


class Story:
    """The whole life of the instances, told once; the tests below look at its chapters."""

    def __init__(self) -> None:
        self.rig = Rig(INSTANCES, start=False)
        self.strangers: dict[str, dict[str, str]] = {}  # by chapter
        self.statuses: dict[str, NetworkInstanceStatus] = {}
        self.served: dict[str, bool] = {}
        self.host: dict[str, list[str]] = {}
        self.processes: list[int] = []

    def tell(self) -> None:
        rig, host = self.rig, self.rig.host
        host.sh(STRANGERS)
        wait_until(lambda: "state DOWN" in host.sh("ip link show v-yellow"), what="the kernel's word on its carrier")
        before = host.pids()
        self.host["before"] = snapshot(host)
        self.look("before")
        rig.daemon.start()
        rig.wait_ready("red")
        for name in ("green", "yellow"):
            self.statuses[name] = wait_until(lambda: self.refused(name), what=f"{name}'s error")  # noqa: B023
        self.look("create")
        rig.instances = json.loads(json.dumps(INSTANCES).replace("/24", "/25"))
        rig.configure()
        for name in rig.instances:
            wait_until(lambda: str(rig.status(name).subnet).endswith("/25"), what=f"{name}'s new subnet")  # noqa: B023
        rig.wait_ready("red")
        self.look("change")
        rig.daemon.kill()
        rig.daemon.start()
        rig.wait_ready("red")
        wait_until(lambda: self.refused("green"), what="green's error")
        self.look("restart")
        del rig.instances["green"], rig.instances["yellow"]
        rig.configure()
        wait_until(lambda: "yellow" not in host.sh("ip netns"), what="yellow's end")
        wait_until(lambda: not rig.host.path("/run/nsvisor/state/green.json").exists(), what="green's end")
        rig.wait_ready("red")
        self.look("delete")
        rig.instances = dict(INSTANCES)
        rig.configure()
        wait_until(lambda: self.refused("green") and self.refused("yellow"), what="the errors")
        rig.daemon.down()
        wait_until(lambda: "v-red" not in host.sh("ip -br link"), what="the link's end")
        self.look("down")
        self.host["down"] = snapshot(host)
        self.processes = sorted(set(host.pids()) - set(before))

    def refused(self, name: str) -> NetworkInstanceStatus | None:
        status = self.rig.status(name)
        return status if "not ours" in status.reason else None

    def look(self, chapter: str) -> None:
        self.strangers[chapter] = strangers(self.rig.host)
        self.served[chapter] = chapter not in {"before", "down"} and self.rig.reaches_outside("red")


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    told = Story()
    with told.rig:
        told.tell()
        yield told


CHAPTERS = ("create", "change", "restart", "delete", "down")


@pytest.mark.parametrize("chapter", CHAPTERS)
@pytest.mark.parametrize("what", ["namespace", "link"])
def test_what_is_somebody_elses_is_untouched(story: Story, what: str, chapter: str) -> None:
    assert story.strangers[chapter][what].splitlines() == story.strangers["before"][what].splitlines()


def test_a_namespace_of_somebody_else_is_a_clear_error(story: Story) -> None:
    status = story.statuses["green"]
    assert status.state == State.FAILED
    assert "/run/netns/green exists and is not ours; rename the instance, or delete it" in status.reason
    assert (status.pid, status.netns) == (0, "")
    assert {c.name: c.ok for c in status.conditions}["NamespaceStands"] is False


def test_a_link_of_somebody_else_is_a_clear_error(story: Story) -> None:
    status = story.statuses["yellow"]
    assert status.state == State.DEGRADED
    assert "link v-yellow exists and is not ours; rename or delete it" in status.reason
    assert {c.name: c.ok for c in status.conditions}["HostConfigured"] is False


@pytest.mark.parametrize("chapter", CHAPTERS[:-1])
def test_the_others_are_served(story: Story, chapter: str) -> None:
    assert story.served[chapter]


def test_after_down_the_host_is_as_before(story: Story) -> None:
    changed = set(story.host["before"]) ^ set(story.host["down"])
    assert changed <= LEFT_BY_DOWN, sorted(changed - LEFT_BY_DOWN)
    assert not story.processes


def test_the_snapshot_sees_what_is_ours(story: Story) -> None:
    """Else two empty snapshots would be equal too."""
    text = "\n".join(story.host["before"])
    for known in ("v-yellow", "192.0.2.9/32", "lookup 77", "table inet other", "green", "conf/eth0/forwarding:0"):
        assert known in text, known
