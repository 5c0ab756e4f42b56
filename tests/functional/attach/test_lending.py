"""A link of the host lent to an instance is back as it was: after a detach, the instance's end, `down`, and kills."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.functional.attach.lender import MAKE, Lender
from tests.hosts import Host, connect, wait_until


@pytest.fixture
def lender() -> Iterator[Lender]:
    with Host() as host, Host("device") as device:
        connect(host, "eth5", device, "eth0")
        device.sh("ip addr add 10.1.0.66/24 dev eth0")
        host.sh(MAKE)
        found = Lender(host, device)
        with found.daemon:
            yield found


def test_what_is_behind_a_lent_link_is_in_the_instance(lender: Lender) -> None:
    before = lender.seen()
    assert "192.0.2.6" in before
    assert "via 192.0.2.1" in before
    assert "plant0" in before
    lender.lend()
    assert "1 received" in lender.device.sh("ping -c 1 -W 30 10.1.0.1")
    assert lender.app()["kind"] == "link"
    lender.configure()
    lender.wait_back(before)
    left = re.search(r"valid_lft (\d+)sec", lender.host.sh("ip addr show dev eth5 to 192.0.2.6"))
    assert left
    assert 0 < int(left[1]) <= 3000


def test_it_is_back_with_the_end_of_its_instance(lender: Lender) -> None:
    before = lender.seen()
    lender.lend()
    lender.daemon.configure({"instances": {}})
    lender.wait_back(before)
    record = lender.host.path("/run/nsvisor/state/red.json")
    wait_until(lambda: not record.exists(), what="the instance is forgotten")


def test_it_is_back_though_somebody_renamed_it_and_made_it_look_like_ours(lender: Lender) -> None:
    before = lender.seen()
    lender.lend()
    lender.daemon.kill()
    # Its manager sets it up again; one that is up has its name for good, before Linux 6.2.
    rename = "ip link set eth5 down && ip link set eth5 name odd mtu 1300 group 196"
    lender.host.sh(f"until {rename}; do :; done", netns="red")
    lender.daemon.configure({"instances": {}})
    lender.daemon.start()
    lender.wait_back(before)


def test_it_is_back_after_down(lender: Lender) -> None:
    before = lender.seen()
    lender.lend()
    lender.daemon.down()
    assert lender.seen() == before


def test_it_is_back_after_everything_was_killed_and_its_instance_is_wanted_no_more(lender: Lender) -> None:
    before = lender.seen()
    lender.lend()
    lender.kill_all()
    assert not lender.is_here()
    lender.daemon.configure({"instances": {}})
    lender.daemon.start()
    lender.wait_back(before)


def test_a_killed_daemon_finds_it_lent(lender: Lender) -> None:
    before = lender.seen()
    lender.lend()
    lender.kill_all()
    lender.daemon.start()
    wait_until(lambda: lender.app().get("attached"), what="eth5 is on the bridge")
    assert not lender.is_here()
    lender.configure()
    lender.wait_back(before)


def test_a_port_of_a_bridge_is_its_port_again(lender: Lender) -> None:
    lender.host.sh("ip link add tie type bridge; ip link set tie up; ip link set eth5 master tie; touch /run/tie")
    before = lender.seen()
    assert "master tie" in before
    lender.lend()
    lender.configure()
    lender.wait_back(before)


def test_what_is_never_lent_is_told_in_words(lender: Lender) -> None:
    host = lender.host
    host.sh("ip link add tie type bridge; ip link set eth5 master tie")
    lender.configure({"plc": {"attach": {"link": "tie"}}})
    wait_until(lambda: "has ports (eth5)" in str(lender.app().get("reason")), what="a bridge with ports")
    lender.configure({"plc": {"attach": {"link": "eth9"}}})
    wait_until(lambda: "waiting for link eth9" in str(lender.app().get("reason")), what="a link that isn't there")
    assert {"eth5", "tie"} <= {*host.sh("ls /sys/class/net").split()}


def test_a_link_that_comes_later_and_goes_and_comes_back_is_lent_again(lender: Lender) -> None:
    host, device = lender.host, lender.device
    lender.lend()
    device.sh("ip link del eth0")  # as a NIC that is pulled out
    wait_until(lambda: "waiting for link eth5" in str(lender.app().get("reason")), what="it is waited for")
    connect(host, "eth5", device, "eth0")
    device.sh("ip addr add 10.1.0.66/24 dev eth0")
    wait_until(lambda: lender.app().get("attached"), what="it is lent again")
    assert "1 received" in device.sh("ping -c 1 -W 30 10.1.0.1")


def test_an_unchanged_pass_leaves_a_lent_link_alone(lender: Lender) -> None:
    lender.lend()
    record = lender.host.read_file("/run/nsvisor/state/red.json")
    inside = lender.host.sh("cat /sys/class/net/eth5/ifindex", netns="red")
    lender.host.sh("ip link add noise type bridge; ip link del noise")  # wakes a pass
    lender.configure({"plc": {"attach": {"link": "eth5"}}, "more": {}})
    wait_until(lambda: any(one["app"] == "more" for one in lender.daemon.get("apps")), what="another pass")
    assert lender.host.read_file("/run/nsvisor/state/red.json") == record
    assert lender.host.sh("cat /sys/class/net/eth5/ifindex", netns="red") == inside
