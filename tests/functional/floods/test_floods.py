"""An instance that floods what all share stays below its share, and another one notices nothing."""

from __future__ import annotations

import json
import sys

import pytest

from nsmanager.firewall.limits import LEASE_BURST
from nsmanager.names import LINK_LOCAL, eui64
from tests.functional.floods.rig import (
    CONNECTIONS,
    ENDLESS,
    FLOOD,
    LEASES,
    MANY,
    NEIGHBOURS,
    NOWHERE,
    PORT,
    QUERIES,
    QUIET,
    FloodRig,
)
from tests.hosts import wait_until
from tests.hosts.topology import OUTSIDE

TEN_TIMES = 10
OTHERS = CONNECTIONS // 16  # which no rule counts: DHCP, neighbour discovery, its own services'
EACH = 300  # requests by DHCP of each kind


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_flood_of_connections(rig: FloodRig, protocol: str) -> None:
    with rig.app(protocol, "app") as app:
        words = (rig.router(protocol), rig.address(app), NOWHERE, protocol, ENDLESS)
        with rig.flooding(app, "connections", *words) as sent:
            wait_until(lambda: rig.counters(protocol)["refused/connections"] > TEN_TIMES * CONNECTIONS, what="a flood")
            rig.assert_quiet()
            assert CONNECTIONS // 2 < rig.tracked(protocol) <= CONNECTIONS
            assert rig.tracked_inside(protocol) <= CONNECTIONS + OTHERS
        assert sent[0] > TEN_TIMES * CONNECTIONS


def test_a_manager_that_was_taken_over_lets_no_more_out(rig: FloodRig) -> None:
    """Whoever owns the instance's namespace can take its limits away; the host has its own."""
    with rig.app("taken", "app") as app:
        words = (rig.router("taken"), rig.address(app), NOWHERE, "tcp", ENDLESS)
        take_over = "while :; do nft flush chain inet nsvisor opening; done"
        taking = rig.host.popen(["sh", "-c", take_over], netns="taken")
        try:
            with rig.flooding(app, "connections", *words):
                wait_until(lambda: rig.refused_on_host("connections").get("v-taken", 0) > CONNECTIONS, what="a flood")
                rig.assert_quiet()
                assert CONNECTIONS // 2 < rig.tracked("taken") <= CONNECTIONS
        finally:
            taking.kill()
        assert f"v-{QUIET}" not in rig.refused_on_host("connections")


def test_a_stream_that_nobody_answers_is_one_connection(rig: FloodRig) -> None:
    before = rig.counters("held")["refused/connections"]
    with rig.app("held", "app") as app:
        assert rig.run(app, "stream", NOWHERE, 9, TEN_TIMES * CONNECTIONS) == TEN_TIMES * CONNECTIONS
        assert "v-held" not in rig.refused_on_host("connections")
        assert rig.counters("held")["refused/connections"] == before
        assert 0 < rig.tracked("held") < CONNECTIONS // 2


def test_what_was_open_stays_open(rig: FloodRig) -> None:
    with rig.app("held", "app") as app:
        held = rig.host.start(rig._argv(app, ("hold", OUTSIDE, PORT)), stdin=-1)
        assert held.stdin is not None
        assert held.stdout is not None
        words = (rig.router("held"), rig.address(app), NOWHERE, "tcp", ENDLESS)
        before = rig.counters("held")["refused/connections"]
        with rig.flooding(app, "connections", *words):
            wait_until(lambda: rig.counters("held")["refused/connections"] > before + CONNECTIONS, what="a flood")
            for number in range(20):
                held.stdin.write("\n")
                held.stdin.flush()
                assert int(held.stdout.readline()) == number


@pytest.mark.parametrize(("name", "version", "network"), [("near", 4, "172.20.0.0/16"), ("near6", 6, "2001:db8::/64")])
def test_a_flood_of_neighbours_of_the_uplink(rig: FloodRig, name: str, version: int, network: str) -> None:
    """Each address of a network that the uplink is in is a neighbour that the host would look for."""
    if version == 4:
        rig.host.sh("ip addr add 172.20.0.1/16 dev eth0")
    others = neighbours(rig, version)
    with rig.app(name, "app") as app:
        words = (rig.router(name), rig.address(app, version), network, MANY)
        seen = []  # now and then: the kernel forgets in seconds whom it did not find

        def flooded() -> bool:
            enough = rig.refused_on_host("neighbours").get(f"v-{name}", 0) > NEIGHBOURS
            seen.append(neighbours(rig, version))
            return enough

        with rig.flooding(app, "hosts", *words):
            wait_until(flooded, what="a flood")
            rig.assert_quiet()
            seen.append(neighbours(rig, version))
        assert others < max(seen) <= others + NEIGHBOURS


def test_a_flood_of_neighbours_inside(rig: FloodRig) -> None:
    """Through the router to its own subnet, and by what an app says that it is."""
    router6 = rig.host.sh("ip -6 -o addr show dev br0 scope link | awk '{print $4}'", netns="near").partition("/")[0]
    with rig.app("near", "app") as app:
        own = rig.address(app)
        assert rig.run(app, "hosts", rig.router("near"), own, "10.5.0.0/16", MANY) == MANY
        assert rig.run(app, "claims", "10.5.0.1", router6, "10.5.0.0/16", MANY // 10)
        rig.assert_quiet()
        spoofed = rig.counters("near")["spoofed/app"]
        assert spoofed > MANY // 10, "nothing arrived"
        for version in (4, 6):
            assert 0 < neighbours(rig, version, "near") <= NEIGHBOURS


def neighbours(rig: FloodRig, version: int, netns: str = "") -> int:
    """Return how many neighbours the kernel keeps, on the uplink or in an instance."""
    dev = "br0" if netns else "eth0"
    return len(rig.host.sh(f"ip -{version} neigh show dev {dev}", netns=netns).splitlines())


def test_a_starvation_of_dhcp(rig: FloodRig) -> None:
    """An app gets one lease whatever it says; what is behind a link, where many may live, as many as the share."""
    with rig.app("dhcp", "app") as app:
        spoofed = rig.counters("dhcp")["spoofed/app"]
        for kind in ("chaddr", "client"):
            assert rig.run(app, "leases", "10.6.100.0/22", kind, EACH) == EACH
        assert rig.counters("dhcp")["spoofed/app"] >= spoofed + EACH
        mac = json.loads(rig.inside(app, "ip -j link show eth0"))[0]["address"]
        given = rig.leases("dhcp")
        assert [line.split()[1] for line in given] == [mac], "one lease for the app"
        argv = [sys.executable, "-SE", FLOOD, "leases", "10.6.100.0/22", "mac", EACH]
        assert rig.lan.run(argv).stdout.split()[-1] == str(EACH)
        wait_until(lambda: len(rig.leases("dhcp")) >= LEASES, what="as many leases as the share")
        with rig.app(QUIET, "late"):  # gets its address by DHCP
            rig.assert_quiet()
        assert len(rig.leases("dhcp")) == LEASES


@pytest.mark.parametrize("version", [4, 6])
def test_a_storm_of_dhcp(rig: FloodRig, version: int) -> None:
    """To the server's own address, so that it isn't bounded as what is for many."""
    router6 = eui64(LINK_LOCAL, rig.router("udp"))
    server, port = ("10.2.0.1", 67) if version == 4 else (f"{router6}%eth0", 547)
    with rig.app("udp", "app") as app:
        before = rig.counters("udp")["refused/leases"]
        rig.run(app, "stream", server, port, TEN_TIMES * LEASE_BURST)
        assert rig.counters("udp")["refused/leases"] >= before + LEASE_BURST
        with rig.app("udp", "late") as late:
            assert rig.address(late)
        rig.assert_quiet()


def test_a_storm_of_dns(rig: FloodRig) -> None:
    """Random names, and a server that never answers."""
    with rig.app("dns", "app") as app, rig.flooding(app, "queries", "10.7.0.1", "storm.test", ENDLESS) as sent:
        wait_until(lambda: rig.counters("dns")["refused/queries"] > TEN_TIMES * QUERIES, what="a storm")
        rig.assert_quiet()
        assert rig.tracked("dns") <= CONNECTIONS
        assert rig.tracked_inside("dns") <= CONNECTIONS + OTHERS
    assert sent[0] > TEN_TIMES * QUERIES
    with rig.app("dns", "app") as app:
        wait_until(lambda: rig.run(app, "resolve", "10.7.0.1", "printer.dns.internal", 1), what="an answer after it")
