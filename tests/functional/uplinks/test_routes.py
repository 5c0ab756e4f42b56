"""Static routes of an instance: by a second router, by another uplink, by an app; and who tells the apps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.uplinks.conftest import NEIGHBOUR
from tests.functional.uplinks.rig import Rig, ends, go_home
from tests.hosts import wait_until
from tests.hosts.topology import OUTSIDE

BEHIND_NEIGHBOUR = "203.0.113.1"
BY_SPARE = "198.51.100.33"  # at `outside`
BEHIND_APP = "203.0.113.65"


@pytest.fixture(scope="module", autouse=True)
def _places(moving: Rig) -> Iterator[None]:
    """A second router in eth0's LAN with a page behind it, one more address outside, a page behind an app."""
    gateway, outside = moving.topology.gateway, moving.topology.outside
    gateway.sh(
        "ip netns add neighbour; ip link add near link up0 netns neighbour type macvlan mode bridge; "
        f"ip -n neighbour addr add {NEIGHBOUR}/24 dev near; ip -n neighbour addr add {BEHIND_NEIGHBOUR}/32 dev near; "
        "ip -n neighbour link set near up; ip -n neighbour link set lo up"
    )
    gateway.serve_page("neighbour", netns="neighbour")
    outside.sh(f"ip addr add {BY_SPARE}/24 dev eth0")
    moving.run("guided/gate", "ip", "addr", "add", f"{BEHIND_APP}/32", "dev", "lo")
    moving.serve("guided/gate", "page", 80, "gate")
    yield
    gateway.sh("ip netns del neighbour")
    outside.sh(f"ip addr del {BY_SPARE}/24 dev eth0")


def test_a_route_by_another_router_of_the_uplinks_lan(moving: Rig) -> None:
    pages = []
    seen = moving.seen(
        f"tcp and host {BEHIND_NEIGHBOUR}",
        lambda: pages.append(moving.fetch("guided/web", f"http://{BEHIND_NEIGHBOUR}/")),
    )
    assert pages == ["neighbour to 192.168.0.2"]
    assert ends(seen["eth0"]) == {f"192.168.0.2 > {BEHIND_NEIGHBOUR}", f"{BEHIND_NEIGHBOUR} > 192.168.0.2"}
    assert seen["eth1"] == seen["eth2"] == []
    assert "neighbour" not in moving.reached({"web": f"http://{BEHIND_NEIGHBOUR}/"}, app="mover/web").values()


def test_a_route_by_another_uplink_that_has_a_label(moving: Rig) -> None:
    pages = []
    seen = moving.seen(
        f"tcp and host {BY_SPARE}", lambda: pages.append(moving.fetch("guided/web", f"http://{BY_SPARE}/"))
    )
    assert pages == ["outside to 192.168.1.2"]
    assert seen["eth1"]
    assert seen["eth0"] == seen["eth2"] == []
    assert moving.asker("guided/web") == "192.168.0.2"  # all else goes by the selected one


def test_a_route_by_another_uplink_follows_its_health(moving: Rig) -> None:
    moving.cables[1].unplug()
    try:
        wait_until(
            lambda: moving.fetch("guided/web", f"http://{BY_SPARE}/") == "outside to 192.168.2.2", what="by eth2"
        )
        moving.cables[2].unplug()
        wait_until(lambda: not moving.device("eth2").healthy, what="eth2 is down")
        seen = moving.seen(
            f"tcp and host {BY_SPARE}",
            lambda: moving.reached({"web": f"http://{BY_SPARE}/"}, app="guided/web"),
            moving.cables[:1],
        )
        assert seen == {"eth0": []}  # never by the selected one
    finally:
        moving.cables[1].plug()
        moving.cables[2].plug()
    go_home(moving)
    wait_until(lambda: moving.fetch("guided/web", f"http://{BY_SPARE}/") == "outside to 192.168.1.2", what="by eth1")


def test_a_route_by_an_app(moving: Rig) -> None:
    """Also from an app that has only a default route: its instance sends it on."""
    assert moving.fetch("guided/web", f"http://{BEHIND_APP}/").startswith("gate to ")
    assert "gate" not in moving.reached({"web": f"http://{BEHIND_APP}/"}, app="mover/web").values()


def test_all_routes_are_told_by_option_121(moving: Rig) -> None:
    lease = ask_lease(moving, "guided")
    words = lease["staticroutes"].split()
    told = dict(zip(words[::2], words[1::2], strict=True))
    assert told == {
        "0.0.0.0/0": "10.7.0.1",
        "203.0.113.0/28": "10.7.0.1",
        "198.51.100.32/27": "10.7.0.1",
        "203.0.113.64/26": "10.7.0.5",
        "192.168.0.0/24": "10.7.0.1",  # the uplink's own network
    }
    assert ask_lease(moving, "mover").get("staticroutes", "").split() in ([], ["0.0.0.0/0", bridge(moving, "mover")])


def bridge(rig: Rig, instance: str) -> str:
    subnet = rig.status(instance).subnet
    assert subnet is not None
    return str(subnet[1])


def ask_lease(rig: Rig, instance: str) -> dict[str, str]:
    """Return what a real DHCP client at an instance's bridge is told, asked for static routes."""
    rig.host.sh(
        f"ip netns add client; ip link add c0 netns client type veth peer name p-client netns {instance}; "
        f"ip -n {instance} link set p-client master br0 up; ip -n client link set c0 up"
    )
    try:
        script = "env > /run/client-lease"
        rig.host.put_file("/run/client-script", f'#!/bin/sh\n[ "$1" != bound ] || {script}\n', mode=0o755)
        client = ["busybox", "udhcpc", "-i", "c0", "-n", "-q", "-t", "60", "-T", "1", "-O", "staticroutes"]
        rig.host.run([*client, "-s", "/run/client-script"], netns="client")
        lines = [line.partition("=") for line in rig.host.read_file("/run/client-lease").splitlines()]
        return {key: value for key, _, value in lines}
    finally:
        rig.host.sh("ip netns del client")


def test_outside_is_reached_by_the_selected_uplink_meanwhile(moving: Rig) -> None:
    assert moving.fetch("guided/web", f"http://{OUTSIDE}/") == "outside to 192.168.0.2"
