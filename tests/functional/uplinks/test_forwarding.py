"""Who is let through the host beside the instances: nobody on their account, and whoever the host itself forwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts import Daemon, Host, Topology, wait_until
from tests.hosts.host import connect

CONFIG = {"instances": {"red": {"subnet": "10.1.0.0/24"}}}
BEHIND = "203.0.113.2"  # behind the host, where its uplinks' neighbours would find it if it were a router


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with Topology() as made:
        lan = made.add_host("lan")
        connect(made.host, "lan0", lan, "eth0")
        made.host.sh("ip addr add 203.0.113.1/24 dev lan0")
        lan.sh(f"ip addr add {BEHIND}/24 dev eth0; ip route add default via 203.0.113.1")
        made.gateway.sh("ip route add 203.0.113.0/24 via 192.168.0.2")
        yield made


def is_let_through(topology: Topology) -> bool:
    """Tell whether a neighbour of the uplink reaches what is behind the host."""
    return "1 received" in topology.gateway.sh(f"ping -c1 -W1 {BEHIND} || true")


def forwards(host: Host, ifname: str) -> bool:
    return host.sh(f"sysctl -n net.ipv4.conf.{ifname}.forwarding") == "1\n"


def switch(topology: Topology, *, on: bool) -> None:
    """Make the whole host a router or not, as an operator does, or docker."""
    topology.host.sh(f"sysctl -qw net.ipv4.ip_forward={on:d}")


def test_a_host_that_forwards_for_an_instance_does_for_nobody_else_until_somebody_says_so(topology: Topology) -> None:
    host = topology.host
    assert not is_let_through(topology)
    with Daemon(host, CONFIG) as daemon:
        daemon.wait_ready("red")
        assert forwards(host, "eth0")
        host.sh("sysctl -qw net.ipv4.conf.lan0.forwarding=1")  # and the way back is free
        assert not is_let_through(topology)
        switch(topology, on=True)
        wait_until(lambda: is_let_through(topology), what="the way through a router")
        daemon.kill()
        assert is_let_through(topology)
        switch(topology, on=False)
        daemon.start()
        daemon.wait_ready("red")
        wait_until(lambda: forwards(host, "eth0"), what="the uplink's own forwarding again")
        host.sh("sysctl -qw net.ipv4.conf.lan0.forwarding=1")
        assert not is_let_through(topology)
        daemon.down()
        assert not forwards(host, "eth0")


@pytest.mark.parametrize("while_away", [False, True])
def test_who_made_the_host_a_router_keeps_it_after_down(topology: Topology, while_away: bool) -> None:
    """Containers of docker have their answers by the uplink's forwarding too."""
    with Daemon(topology.host, CONFIG) as daemon:
        daemon.wait_ready("red")
        if while_away:
            daemon.kill()
        switch(topology, on=True)
        if while_away:
            daemon.start()
            daemon.wait_ready("red")
        daemon.down()
        assert is_let_through(topology)
        switch(topology, on=False)


def test_an_uplink_that_a_router_leaves_out_stays_left_out(topology: Topology) -> None:
    switch(topology, on=True)
    topology.host.sh("sysctl -qw net.ipv4.conf.eth0.forwarding=0")
    with Daemon(topology.host, CONFIG) as daemon:
        daemon.wait_ready("red")
        assert forwards(topology.host, "eth0")
        assert not is_let_through(topology)
        daemon.down()
    assert not forwards(topology.host, "eth0")
    switch(topology, on=False)
