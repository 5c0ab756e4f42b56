"""Invariant 6: fail closed. Without our nft table, or without a known uplink, an instance reaches nothing."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from pubsub.topics import State
from tests.hosts import DEADLINE, RULESET, Capture, wait_until
from tests.hosts.topology import OUTSIDE
from tests.invariants.rig import Rig

INSTANCES = {
    "red": {"subnet": "10.1.0.0/24", "uplinks": ["eth1"]},  # not the uplink of the host's default route
    "blue": {"subnet": "10.1.0.0/24"},
    "lost": {"subnet": "10.4.0.0/24", "uplinks": ["eth9"]},  # there is no such uplink
}
PORT = 8088  # of a service of the host, on all its addresses


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(INSTANCES, uplinks=2, expected=("red", "blue")) as made:
        made.host.serve_page("host", PORT)
        made.host.serve_page("blue", PORT, netns="blue")
        wait_until(lambda: made.status("lost").pid, what="lost's manager")
        yield made


def address(rig: Rig, ifname: str, netns: str = "") -> str:
    """Return the IPv4 address of a link."""
    found: str = rig.host.sh(f"ip -4 -o addr show {ifname}", netns=netns).split()[3].partition("/")[0]
    return found


def doors(rig: Rig, name: str) -> dict[str, str]:
    """Return all that an instance must not reach, by what it is, and the world outside."""
    return {
        "the host's service by its first uplink": f"http://192.168.0.2:{PORT}/",
        "the host's service by its second uplink": f"http://192.168.1.2:{PORT}/",
        "the host's service by the link": f"http://{address(rig, 'v-' + name)}:{PORT}/",
        "another instance by its link": f"http://{address(rig, 'up0', 'blue')}:{PORT}/",
        "the host's service by another's link": f"http://{address(rig, 'v-blue')}:{PORT}/",
        "outside": f"http://{OUTSIDE}/",
        "the gateway's DNS": "http://192.168.0.1:53/",
    }


def reached(rig: Rig, name: str) -> set[str]:
    """Return what the namespace of an instance reaches, tried all at once. Behind each door somebody listens."""
    tried = {
        what: rig.host.popen(["curl", "-s", "-o", "/dev/null", "--max-time", "1.5", url], netns=name)
        for what, url in doors(rig, name).items()
    }
    # 28: no answer; 7: unreachable, as routing says. All else has come from who listens there.
    return {what for what, curl in tried.items() if curl.wait(DEADLINE) not in {7, 28}}


def test_the_doors_are_real(rig: Rig) -> None:
    """Each answers somebody: else nobody reaching it would prove nothing."""
    gateway = rig.topology.gateway
    assert gateway.fetch(f"http://192.168.0.2:{PORT}/").startswith("host")
    assert gateway.fetch(f"http://192.168.1.2:{PORT}/").startswith("host")
    for end in (address(rig, "v-red"), address(rig, "v-blue")):
        assert rig.host.fetch(f"http://{end}:{PORT}/").startswith("host")
    assert rig.host.fetch(f"http://127.0.0.1:{PORT}/", netns="blue").startswith("blue")


def test_with_everything_in_place_only_outside_is_reached(rig: Rig) -> None:
    found = set[str]()

    def outside_is_reached() -> bool:
        found.update(reached(rig, "red"))  # on a slow machine an answer may come too late
        return "outside" in found

    wait_until(outside_is_reached)
    assert found <= {"outside", "the gateway's DNS"}, found


@contextlib.contextmanager
def flushed(rig: Rig) -> Iterator[None]:
    """Take nft's ruleset away, as `systemctl restart nftables` does, while nobody is there to repair it."""
    table = rig.host.sh(f"{RULESET} table inet nsvisor")
    os.kill(rig.daemon.pid, signal.SIGSTOP)
    try:
        rig.host.sh("nft flush ruleset")
        yield
    finally:
        os.kill(rig.daemon.pid, signal.SIGCONT)
    wait_until(lambda: rig.host.sh(f"{RULESET} table inet nsvisor", check=False) == table, what="the table")


def test_without_the_nft_table_nothing_is_reached_and_the_host_goes_on(rig: Rig) -> None:
    with flushed(rig):
        uplinks = ("eth0", "eth1")
        captures = [Capture(rig.host, ifname, "net 100.127.0.0/16 or net 10.1.0.0/24") for ifname in uplinks]
        with captures[0], captures[1]:
            with Capture(rig.host, "v-blue", "tcp") as others:
                assert not reached(rig, "red")
            assert not others.packets  # nothing has come as far as blue's own firewall
            assert not reached(rig, "blue") - {"another instance by its link"}  # which is blue itself
            assert rig.host.fetch(f"http://{OUTSIDE}/").startswith("outside to 192.168.0.2")
            assert rig.topology.gateway.fetch(f"http://192.168.0.2:{PORT}/").startswith("host")
        assert not [packet for capture in captures for packet in capture.packets]
    assert rig.reaches_outside("red")


def test_without_the_table_inside_nothing_leaves_and_it_comes_back(rig: Rig) -> None:
    """The host lets nothing in that doesn't carry the instance's own link address."""
    manager = rig.manager("red")
    os.kill(rig.daemon.pid, signal.SIGSTOP)  # it would replace a manager that is still for too long
    os.kill(manager, signal.SIGSTOP)
    try:
        rig.host.sh("nft flush ruleset", netns="red")
        rig.host.sh("ip link add app0 type veth peer name app1; ip addr add 10.1.0.9/32 dev app0", netns="red")
        argv = ["curl", "-s", "--max-time", "1", "--interface", "10.1.0.9", f"http://{OUTSIDE}/"]
        with Capture(rig.host, "eth1", "net 10.1.0.0/24") as capture:
            assert rig.host.run(argv, netns="red", check=False).returncode in {7, 28}
        assert not capture.packets
    finally:
        os.kill(manager, signal.SIGCONT)
        rig.host.sh("ip link del app0", netns="red")
    try:
        wait_until(lambda: "nsvisor" in rig.host.sh("nft list tables", netns="red"), what="red's table")
    finally:
        os.kill(rig.daemon.pid, signal.SIGCONT)


def test_with_an_unknown_uplink_nothing_is_reached(rig: Rig) -> None:
    status = rig.status("lost")
    assert status.state == State.WAITING
    assert "uplink 'eth9' does not exist; known: eth0, eth1" in status.reason
    assert not reached(rig, "lost")


def test_an_uplink_that_goes_away_is_not_replaced_by_another(rig: Rig) -> None:
    rig.host.sh("ip link set eth1 down")
    wait_until(lambda: rig.status("red").state == State.WAITING, what="red waiting")
    with Capture(rig.host, "eth0", "tcp") as capture:
        assert not reached(rig, "red")
    assert not capture.packets
    rig.host.sh("ip link set eth1 up; ip route add default via 192.168.1.1 metric 100")
    wait_until(lambda: rig.reaches_outside("red"), what="outside, again by eth1")
