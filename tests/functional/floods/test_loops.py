"""Two apps' ports that are one bridge outside: what goes round in this loop dies of its own number."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pubsub.topics import ResourceUse
from tests.hosts import Capture, wait_until
from tests.invariants.rig import Rig

BROADCASTS = 50  # a second
LEFT, NOBODY, NOBODYS_MAC = "10.1.0.50", "10.1.0.77", "02:00:00:00:00:77"
INSTANCES: dict[str, Any] = {
    "red": {
        "subnet": "10.1.0.0/24",
        "uplinks": [],
        "limits": {"broadcasts": BROADCASTS},
        "apps": {
            "left": {"address": LEFT, "attach": {"netns": "loop", "ifname": "left", "configure": False}},
            "right": {"attach": {"netns": "loop", "ifname": "right", "configure": False}},
        },
    },
}


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig(INSTANCES)
    made.host.sh(
        "ip netns add loop;"
        "ip netns exec loop sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"
    )
    with made:
        wait_until(
            lambda: made.host.run(["ip", "link", "show", "right"], netns="loop", check=False).returncode == 0,
            what="both ports",
        )
        made.host.sh(
            "ip link add loop address $(cat /sys/class/net/left/address) type bridge stp_state 0 forward_delay 0;"
            "for end in left right; do ip link set $end master loop up; done; ip link set loop up;"
            f"ip addr add {LEFT}/24 dev loop; ip neigh add {NOBODY} lladdr {NOBODYS_MAC} dev loop",
            netns="loop",
        )
        yield made


def passed(rig: Rig) -> int:
    """Return how many frames left the instance by the port of `right`."""
    return int(rig.host.sh("cat /sys/class/net/p-right/statistics/tx_packets", netns="red"))


def test_what_is_for_nobody_does_not_go_round(rig: Rig) -> None:
    with Capture(rig.host, "right", f"ether dst {NOBODYS_MAC}", netns="loop") as seen:
        rig.host.run(["ping", "-c", "1", "-W", "1", NOBODY], netns="loop", check=False)
    assert len(seen.packets) == 1, seen.packets  # sent by the loop itself; none came back


def test_what_is_for_many_goes_round_until_it_is_too_often(rig: Rig) -> None:
    before, began = passed(rig), time.monotonic()
    rig.host.run(["ping", "-c", "1", "-W", "1", "10.1.0.78"], netns="loop", check=False)  # asks for it by ARP

    def refused() -> int:
        counter = rig.host.sh("nft list counter bridge nsvisor refused/broadcasts", netns="red")
        return int(counter.partition("packets ")[2].split()[0])

    wait_until(refused, what="an end of it")
    assert BROADCASTS < passed(rig) - before < BROADCASTS * (time.monotonic() - began + 2)
    wait_until(lambda: use(rig).refused, what="its use of it, told")
    assert use(rig).limit == BROADCASTS
    assert rig.ready("red")


def use(rig: Rig) -> ResourceUse:
    """Return what the instance is said to use of its broadcasts."""
    told = json.loads(rig.daemon.cli("describe", "instance", "red", "-o", "json", check=True).stdout)
    found = [one for one in told.get("resources", ()) if one["name"] == "broadcasts"]
    assert found, told
    return msgspec.convert(found[0], ResourceUse)
