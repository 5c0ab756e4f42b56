"""IPv6 through tunnels, and tunnels over IPv6; over all four pairs the same holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.functional.vpn.world import APP, PAGE, SECRET, SECRETS, World, instance
from tests.hosts import Topology, wait_until
from tests.hosts.cloud import Cloud

LAN6 = "fd00:c1"
PREFIX = "fd00:10::/64"
PAGE6 = f"http://[{LAN6}::1]/"
INNER6 = f"net {PREFIX} or net {LAN6}::/64"
CLOUDS = {"over4": ("192.168.111.1", "2001:db8:c1::1"), "over6": ("192.168.222.1", "2001:db8:c2::1")}


@pytest.fixture(scope="module")
def world6() -> Iterator[World]:
    """Two instances with the same networks, and a tunnel each: to a cloud's IPv4, and to a cloud's IPv6 address."""
    with contextlib.ExitStack() as stack:
        topology = Topology(2, ipv6=True)
        stack.callback(topology.__exit__, None, None, None)
        topology.host.put_file(f"{SECRETS}/secret", SECRET, mode=0o600)
        clouds, instances = {}, {}
        for name, addresses in CLOUDS.items():
            cloud = Cloud(
                topology.gateway, name, addresses[0], psk=SECRET, address6=addresses[1], lan6=LAN6, clients6=PREFIX
            )
            clouds[name] = stack.enter_context(cloud)
            tunnel = {
                "remote": addresses[name == "over6"], "remote_subnets": ["192.168.0.0/24", f"{LAN6}::/64"],
                "remote_id": cloud.id, "secret_file": f"{SECRETS}/secret", "local_id": "edge.test",
            }  # fmt: skip
            instances[name] = {**instance(["eth1"], tunnel), "subnet6": PREFIX}
        config = {"instances": instances}
        yield stack.enter_context(World(topology, config, [f"{name}/web" for name in CLOUDS], clouds))


@pytest.mark.parametrize("name", CLOUDS)
def test_both_protocols_pass_a_tunnel_over_either(world6: World, name: str) -> None:
    tunnel = world6.wait_up(name)
    assert tunnel.remote == {"over4": "192.168.111.1:4500", "over6": "[2001:db8:c2::1]:4500"}[name]
    world6.run(f"{name}/web", "busybox", "sh", "-c", "until ip -6 route | grep -q default; do sleep 0.05; done")
    with world6.cables[1].capture(f"udp port 4500 or ({INNER6})") as capture:
        assert world6.fetch(f"{name}/web", PAGE) == f"{name} to {APP}"
        assert world6.fetch(f"{name}/web", PAGE6).startswith(f"{name} to fd00:10:")
    assert capture.packets
    assert all(".4500" in packet for packet in capture.packets)


def test_nothing_of_ipv6_goes_around_a_tunnel(world6: World) -> None:
    world6.wait_up("over4")
    elsewhere = {"outside": "http://[2001:db8:ffff::1]/", "peer": "http://[2001:db8:c1::1]/"}
    assert world6.reached(elsewhere, app="over4/web") == {}
    for address in ("2001:db8:ffff::1", "2001:db8:1::1"):
        done = world6.host.run(["ping", "-c", "1", "-w", "2", address], netns="over6", check=False)
        assert done.returncode, done.stdout


def test_a_tunnel_is_set_up_anew_for_an_address_of_the_protocol_that_it_goes_over(world6: World) -> None:
    def known(name: str) -> set[str]:
        return {tunnel["initiator-spi"] for tunnel in world6.clouds[name].tunnels()}

    for name in CLOUDS:
        world6.wait_up(name)
    before = {name: known(name) for name in CLOUDS}
    world6.host.sh("ip addr add 2001:db8:1::77/64 dev eth1 nodad")
    wait_until(lambda: known("over6").isdisjoint(before["over6"]), what="the tunnel over IPv6 is another one")
    world6.wait_up("over6")
    assert known("over4") == before["over4"]
    world6.host.sh("ip addr add 192.168.1.77/24 dev eth1")
    wait_until(lambda: known("over4").isdisjoint(before["over4"]), what="the tunnel over IPv4 is another one")
    for name in CLOUDS:
        world6.wait_up(name)
        assert world6.fetch(f"{name}/web", PAGE) == f"{name} to {APP}"
