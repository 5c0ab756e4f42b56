"""Who is let through the host beside the instances: nobody on their account, and whoever the host itself forwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts import Daemon, Host, Topology, wait_until
from tests.hosts.host import connect

CONFIG = {"instances": {"red": {"subnet": "10.1.0.0/24"}}}
# Behind the host, where its uplinks' neighbours would find them if it were a router.
BEHIND = {4: "203.0.113.2", 6: "2001:db8:b::2"}
ROUTER = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with Topology(ipv6=True) as made:
        lan = made.add_host("lan")
        connect(made.host, "lan0", lan, "eth0")
        made.host.sh("ip addr add 203.0.113.1/24 dev lan0; ip addr add 2001:db8:b::1/64 dev lan0 nodad")
        lan.sh(f"ip addr add {BEHIND[4]}/24 dev eth0; ip addr add {BEHIND[6]}/64 dev eth0 nodad")
        lan.sh("ip route add default via 203.0.113.1; ip route add default via 2001:db8:b::1")
        made.gateway.sh("ip route add 203.0.113.0/24 via 192.168.0.2; ip route add 2001:db8:b::/64 via 2001:db8::2")
        yield made


def is_let_through(topology: Topology, version: int) -> bool:
    """Tell whether a neighbour of the uplink reaches what is behind the host."""
    return "1 received" in topology.gateway.sh(f"ping -c1 -W1 {BEHIND[version]} || true")


def forwards(host: Host, ifname: str) -> bool:
    return host.sh(f"sysctl -n net.ipv4.conf.{ifname}.forwarding") == "1\n"


def switch(topology: Topology, version: int, *, on: bool) -> None:
    """Make the whole host a router or not, as an operator does, or docker."""
    topology.host.sh(f"sysctl -qw {ROUTER[version]}={on:d}")


def free_the_way_back(topology: Topology) -> None:
    """Let what is behind the host answer: only who asks first is in question."""
    topology.host.sh("sysctl -qw net.ipv4.conf.lan0.forwarding=1; sysctl -eqw net.ipv6.conf.lan0.force_forwarding=1")


@pytest.mark.parametrize("version", [4, 6])
def test_a_host_that_forwards_for_an_instance_does_for_nobody_else_until_somebody_says_so(
    topology: Topology, version: int
) -> None:
    assert not is_let_through(topology, version)
    with Daemon(topology.host, CONFIG) as daemon:
        daemon.wait_ready("red")
        assert forwards(topology.host, "eth0")
        free_the_way_back(topology)
        assert not is_let_through(topology, version)
        switch(topology, version, on=True)
        wait_until(lambda: is_let_through(topology, version), what="the way through a router")
        daemon.kill()
        assert is_let_through(topology, version)
        switch(topology, version, on=False)
        daemon.start()
        daemon.wait_ready("red")
        wait_until(lambda: forwards(topology.host, "eth0"), what="the uplink's own forwarding again")
        free_the_way_back(topology)
        assert not is_let_through(topology, version)
        daemon.down()
    assert not forwards(topology.host, "eth0")
    assert topology.host.sh(f"sysctl -n {ROUTER[version]}") == "0\n"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("while_away", [False, True])
def test_who_made_the_host_a_router_keeps_it_after_down(topology: Topology, version: int, while_away: bool) -> None:
    """Containers of docker have their answers by the uplink's forwarding too."""
    with Daemon(topology.host, CONFIG) as daemon:
        daemon.wait_ready("red")
        if while_away:
            daemon.kill()
        switch(topology, version, on=True)
        if while_away:
            daemon.start()
            daemon.wait_ready("red")
        else:
            wait_until(lambda: is_let_through(topology, version), what="the way through a router")
        daemon.down()
    assert is_let_through(topology, version)
    switch(topology, version, on=False)


def test_a_host_that_somebody_made_a_router_learns_its_routes_on(topology: Topology) -> None:
    host = topology.host
    if host.sh("sysctl -eN net.ipv6.conf.eth0.force_forwarding"):
        pytest.skip(
            "since 6.17 one link alone forwards, and whoever makes a router of the host has what the kernel does then"
        )
    with Daemon(host, CONFIG) as daemon:
        daemon.wait_ready("red")
        switch(topology, 6, on=True)
        wait_until(lambda: is_let_through(topology, 6), what="the way through a router")
        host.sh("ip -6 route del default proto ra")
        wait_until(lambda: host.sh("ip -6 route show default proto ra"), what="a router's advertisement")
        daemon.down()
    switch(topology, 6, on=False)


def test_an_uplink_that_a_router_leaves_out_stays_left_out(topology: Topology) -> None:
    switch(topology, 4, on=True)
    topology.host.sh("sysctl -qw net.ipv4.conf.eth0.forwarding=0")
    with Daemon(topology.host, CONFIG) as daemon:
        daemon.wait_ready("red")
        assert forwards(topology.host, "eth0")
        assert not is_let_through(topology, 4)
        daemon.down()
    assert not forwards(topology.host, "eth0")
    switch(topology, 4, on=False)
