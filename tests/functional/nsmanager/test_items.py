"""Addresses, routes, rules and neighbours of both families, as the kernel takes and tells them."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.functional.nsmanager.reconciled import PLAN
from tests.hosts import Host

BY_HAND = {
    "ip -6 route del default": ["ip -6 route add default via 2001:db8::2 dev br0 proto 196"],
    "ip -6 route replace default dev lo": ["ip -6 route replace default via 2001:db8::2 dev br0 proto 196"],
    "ip -6 route replace unreachable default": ["ip -6 route replace default via 2001:db8::2 dev br0 proto 196"],
    "ip -6 route append default via 2001:db8::3 dev br0 metric 1024": [
        "ip -6 route replace default via 2001:db8::2 dev br0 proto 196"
    ],
    "ip -6 route add default via 2001:db8::3 dev br0 metric 512": [],  # another place, and not ours
    "ip -6 route add 2001:db8:7::/64 dev br0 proto 196": ["ip -6 route del 2001:db8:7::/64 metric 1024 proto 196"],
    "ip -6 route del unreachable default table 196002 metric 4278198272": [
        "ip -6 route add unreachable default table 196002 metric 4278198272 proto 196"
    ],
    "ip -6 addr del 2001:db8::1/64 dev br0": [  # and with it the source of the route
        "ip addr add 2001:db8::1/64 dev br0 nodad",
        "ip -6 route replace default table 196002 metric 5 via 2001:db8::2 dev br0 src 2001:db8::1 proto 196",
    ],
    "ip -6 neigh del 2001:db8::2 dev br0": [
        "ip neigh replace 2001:db8::2 lladdr 02:00:00:00:00:02 dev br0 nud permanent"
    ],
    "ip -6 rule del pref 10": ["ip -6 rule add pref 10 fwmark 0x102/0xffff lookup 196002 protocol 196"],
    "ip rule del pref 10": ["ip rule add pref 10 fwmark 0x102/0xffff lookup 196002 protocol 196"],
    "ip -6 rule add pref 11 fwmark 0x103 lookup 7 protocol 196": [
        "ip -6 rule del pref 11 fwmark 0x103 lookup 7 protocol 196"
    ],
    "ip -6 rule add pref 12 fwmark 0x103 lookup 7": [],
}


@pytest.fixture
def host() -> Iterator[Host]:
    """A host without anything."""
    with Host() as made:
        yield made


def reconcile(host: Host, what: str) -> list[str]:
    """Make the host as planned, or take all away; return what was done."""
    return host.run([sys.executable, "-m", "tests.functional.nsmanager.reconciled", what]).stdout.splitlines()


def test_all_is_made_once(host: Host) -> None:
    assert reconcile(host, "all") == [str(item) for item in PLAN]
    assert reconcile(host, "all") == []


def test_only_what_was_changed_by_hand_is_made_again(host: Host) -> None:
    reconcile(host, "all")
    for command, repairs in BY_HAND.items():
        host.sh(command)
        assert reconcile(host, "all") == repairs, command
        assert reconcile(host, "all") == [], command


def test_all_of_ours_can_be_taken_away(host: Host) -> None:
    rules = host.sh("ip rule; ip -6 rule")
    reconcile(host, "all")
    host.sh("ip -6 route add 2001:db8:9::/64 dev br0")
    assert len(reconcile(host, "none")) == len(PLAN)
    assert host.sh("ip rule; ip -6 rule") == rules
    assert (
        host.sh("ip -6 route show table all proto 196; ip route show table all proto 196; ip link show group 196") == ""
    )


def test_our_addresses_wait_for_nobody(host: Host) -> None:
    host.sh("sysctl -qw net.ipv6.conf.default.accept_dad=1")
    reconcile(host, "all")
    shown = host.sh("ip -6 addr show dev br0 tentative")
    assert "2001:db8::1" not in shown
    assert "fe80::1/" not in shown
