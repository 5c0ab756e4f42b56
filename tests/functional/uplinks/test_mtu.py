"""1500 bytes pass the whole way; who sends more is told; instances follow a smaller uplink; TCP segments fit."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.functional.uplinks.rig import Rig
from tests.hosts import wait_until
from tests.hosts.topology import OUTSIDE, OUTSIDE6

HEADERS = {4: 20 + 8, 6: 40 + 8}  # bytes of IP and ICMP
SMALL = 1400  # bytes


def ping(rig: Rig, app: str, family: int, size: int) -> str:
    """Send one packet of `size` bytes that may not be cut; return what ping says."""
    target = OUTSIDE if family == 4 else OUTSIDE6
    argv = ["ping", "-n", "-c", "1", "-W", "5", "-M", "do", "-s", size - HEADERS[family], target]
    done = rig.host.run(rig.inside(app, *argv), check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("family", [4, 6])
def test_1500_bytes_pass_and_1501_are_refused_with_the_mtu(world: Rig, family: int) -> None:
    assert "1 received" in ping(world, "red/web", family, 1500)
    port = world.host.sh("ip -br link", netns="red")
    ifname = re.search(r"^(p-\S+?)@", port, re.MULTILINE)
    assert ifname
    # The app's own link takes more: the path must say it.
    world.host.sh(f"ip link set {ifname[1]} mtu 1600", netns="red")
    world.run("red/web", "ip", "link", "set", "eth0", "mtu", "1600")
    if family == 6:
        world.run("red/web", "sysctl", "-qw", "net.ipv6.conf.eth0.mtu=1600")
    try:
        said = ping(world, "red/web", family, 1501)
        assert "mtu = 1500" in said or "mtu=1500" in said
        assert "1 received" in ping(world, "red/web", family, 1500)
    finally:
        world.run("red/web", "ip", "link", "set", "eth0", "mtu", "1500")
        world.run("red/web", "ip", "route", "flush", "cache")


@pytest.fixture
def small(world: Rig) -> Iterator[Rig]:
    """eth2 has a smaller MTU."""
    cable = world.cables[2]
    world.host.sh(f"ip link set {cable.ifname} mtu {SMALL}")
    yield world
    world.host.sh(f"ip link set {cable.ifname} mtu 1500")
    wait_until(lambda: mtu_inside(world, "up0") == 1500, what="the larger MTU again")


def mtu_inside(rig: Rig, ifname: str) -> int:
    return int(rig.host.sh(f"cat /sys/class/net/{ifname}/mtu", netns="small"))


@pytest.mark.parametrize("family", [4, 6])
def test_an_instance_follows_a_smaller_uplink(small: Rig, family: int) -> None:
    for ifname in ("up0", "br0"):
        wait_until(lambda: mtu_inside(small, ifname) == SMALL, what=f"the smaller MTU of {ifname}")  # noqa: B023
    options = small.daemon.run_dir / "instances/small/dnsmasq.options"
    wait_until(lambda: f"26,{SMALL}" in small.host.read_file(options), what="the smaller MTU is told by DHCP")
    said = ping(small, "small/web", family, 1500)  # an app that was there before, with its old MTU
    # Where the app has heard the new MTU already, ping of newer iputils names no number.
    assert re.search(r"mtu(:| ?=) ?1400|sendmsg: Message too long", said), said
    assert "1 received" in ping(small, "small/web", family, SMALL)
    small.run("small/web", "ip", "route", "flush", "cache")


@pytest.mark.parametrize("family", [4, 6])
def test_tcp_segments_are_made_to_fit(small: Rig, family: int) -> None:
    """Both ways: what the app is told by the other side too."""
    wait_until(lambda: mtu_inside(small, "up0") == SMALL, what="the smaller MTU")
    target = f"http://{OUTSIDE}/" if family == 4 else f"http://[{OUTSIDE6}]/"
    syn = "tcp[tcpflags] & tcp-syn != 0" if family == 4 else "ip6 and ip6[6] == 6 and ip6[53] & 2 != 0"
    seen = small.seen(syn, lambda: small.fetch("small/web", target), small.cables[2:])
    sizes = [int(found[1]) for packet in seen["eth2"] if (found := re.search(r"mss (\d+)", packet))]
    assert sizes
    assert sizes[0] <= SMALL - HEADERS[family] + 8 - 20, sizes
