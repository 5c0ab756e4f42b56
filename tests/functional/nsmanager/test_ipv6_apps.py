"""Apps of a whole daemon get IPv6 by themselves, and go out by it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network

import pytest

from nsmanager.names import eui64
from tests.hosts import Daemon, Topology, wait_until
from tests.hosts.topology import OUTSIDE6

SUBNET6 = IPv6Network("fd00:1::/64")
# Waits for address and router, tells the address, goes out.
ONLINE = f"""
until ip -6 route show default | grep -q . && ip -6 addr show dev eth0 scope global -tentative | grep -q inet6
do sleep 0.05; done
cat /sys/class/net/eth0/address
ip -o -6 addr show dev eth0 scope global | awk '{{print $4}}'
curl -sSf --max-time 30 http://[{OUTSIDE6}]/
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A host with an uplink that has IPv6, and an instance on it."""
    config = {"instances": {"red": {"subnet6": str(SUBNET6), "apps": {"web": {}}}}}
    with Topology(ipv6=True) as network, Daemon(network.host, config) as made:
        made.wait_ready("red")
        yield made


@pytest.mark.parametrize("name", [["--name", "web"], []], ids=["configured", "anonymous"])
def test_a_run_app_has_its_predicted_address_and_the_way_out(daemon: Daemon, name: list[str]) -> None:
    done = daemon.cli("run", *name, "red", "--", "sh", "-euc", ONLINE, check=True)
    mac, address, page = done.stdout.splitlines()
    assert address == f"{eui64(SUBNET6, mac)}/64"
    assert page.removeprefix("outside to ") in daemon.host.sh("ip -6 addr show dev eth0")


def test_a_containers_link_too(daemon: Daemon) -> None:
    host = daemon.host
    host.sh("ip netns add box")
    process = host.start(["sh", "-c", "echo ready; exec sleep 300"], netns="box")
    apps = {"web": {}, "box": {"attach": {"container": process.pid}}}
    daemon.configure({"instances": {"red": {"subnet6": str(SUBNET6), "apps": apps}}})
    wait_until(lambda: "fd00:1::" in host.sh("ip -6 addr show dev eth0", netns="box"), what="the address")
    mac, address, _ = host.sh(ONLINE, netns="box").splitlines()
    assert address == f"{eui64(SUBNET6, mac)}/64"
