"""Who reaches which port map by which way: each cell of the truth table, proven at the gateway."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.functional.uplinks.conftest import HOST_PORT
from tests.functional.uplinks.rig import Rig, ends
from tests.hosts.topology import OUTSIDE, OUTSIDE6

FAMILIES = pytest.mark.parametrize("family", [4, 6])
NOTHING: dict[str, list[str]] = {"eth0": [], "eth1": [], "eth2": []}
WIRE = "tcp portrange 8081-8088 or tcp port 80"


def address(rig: Rig, number: int, family: int) -> str:
    """Return the address of the host's uplink of that number."""
    cable = rig.cables[number]
    return cable.address if family == 4 else cable.address6


def url(end: str, port: int) -> str:
    return f"http://[{end}]:{port}/" if ":" in end else f"http://{end}:{port}/"


def outside(family: int) -> str:
    return OUTSIDE if family == 4 else OUTSIDE6


@FAMILIES
def test_an_app_reaches_the_port_map_of_its_own_instance_inside_the_host(world: Rig, family: int) -> None:
    pages = []
    target = url(address(world, 0, family), 8081)
    seen = world.seen(WIRE, lambda: pages.append(world.fetch("red/web", target)))
    assert pages[0].startswith("red to")
    assert seen == NOTHING


@FAMILIES
def test_an_app_reaches_that_of_another_on_the_same_uplink_inside_the_host(world: Rig, family: int) -> None:
    pages = []
    target = url(address(world, 0, family), 8082)
    seen = world.seen(WIRE, lambda: pages.append(world.fetch("red/web", target)))
    assert pages[0].startswith("pink to")
    assert seen == NOTHING


@FAMILIES
def test_an_app_reaches_that_of_another_on_another_uplink_out_and_in_again(world: Rig, family: int) -> None:
    near, far = address(world, 0, family), address(world, 1, family)
    pages = []
    seen = world.seen(WIRE, lambda: pages.append(world.fetch("red/web", url(far, 8083))))
    assert pages[0].startswith("blue to")
    near = source(world, family, near)
    both_ways = {f"{near} > {far}", f"{far} > {near}"}
    assert ends(seen["eth0"]) == both_ways  # out here …
    assert ends(seen["eth1"]) == both_ways  # … and in there
    assert seen["eth2"] == []


def source(world: Rig, family: int, address: str) -> str:
    """Return as whom the kernel masquerades at eth0: of its IPv6 addresses any may be chosen (RFC 6724)."""
    if family == 4:
        return address
    page = world.fetch("red/web", f"http://[{OUTSIDE6}]/")
    return page.removeprefix("outside to ")


@FAMILIES
def test_an_app_does_not_reach_the_hosts_own_services(world: Rig, family: int) -> None:
    link = world.host.sh(f"ip -{family} -o addr show v-red").split()[3].partition("/")[0]
    doors = {end: url(end, HOST_PORT) for end in (link, *(address(world, number, family) for number in range(3)))}
    gateway = world.topology.gateway
    assert all(page.startswith("host") for page in world.reached(doors, host=world.host, must=doors).values())
    assert set(world.reached(doors, host=world.host, must=doors)) == set(doors)  # the service is there
    del doors[link]
    assert set(world.reached(doors, host=gateway, must=doors)) == set(doors)  # for others it is
    doors[link] = url(link, HOST_PORT)
    assert not world.reached(doors, app="red/web")
    assert not world.reached(doors, app="blue/web")


@FAMILIES
def test_an_app_reaches_outside_by_its_uplink(world: Rig, family: int) -> None:
    pages = []
    seen = world.seen(WIRE, lambda: pages.append(world.fetch("blue/web", url(outside(family), 80))))
    near, far = address(world, 1, family), outside(family)
    assert pages == [f"outside to {near}"]
    assert ends(seen["eth1"]) == {f"{near} > {far}", f"{far} > {near}"}
    assert seen["eth0"] == seen["eth2"] == []


@FAMILIES
def test_the_host_reaches_every_port_map_by_every_address_of_its_uplink(world: Rig, family: int) -> None:
    listed = world.host.sh(f"ip -{family} -o addr show eth0 scope global").splitlines()
    ends_of_eth0 = [line.split()[3].partition("/")[0] for line in listed]
    assert len(ends_of_eth0) == (1 if family == 4 else 2)
    maps = {f"{name} {end}": url(end, port) for name, port in PORTS.items() for end in ends_of_eth0}
    maps["blue"] = url(address(world, 1, family), 8083)
    seen = world.seen(WIRE, lambda: check_pages(world.reached(maps, host=world.host, must=maps), set(maps)))
    assert seen == NOTHING


PORTS = {"red": 8081, "pink": 8082, "over": 8084}  # all on eth0


def check_pages(pages: dict[str, str], expected: set[str]) -> None:
    """See that each page comes from the instance that its name begins with."""
    assert set(pages) == expected
    for what, page in pages.items():
        assert page.startswith(what.split()[0] + " to "), (what, page)


@FAMILIES
def test_outside_reaches_a_port_map_on_its_uplink_only(world: Rig, family: int) -> None:
    maps = {
        f"{name} by eth{number}": url(address(world, number, family), port)
        for name, port in {**PORTS, "blue": 8083}.items()
        for number in range(3)
    }
    here = {"red by eth0", "pink by eth0", "over by eth0", "blue by eth1"}
    pages = world.reached(maps, host=world.topology.outside, must=here)
    check_pages(pages, here)
    assert {pages[name] for name in here} == {f"{name.split()[0]} to {outside(family)}" for name in here}


@FAMILIES
def test_a_port_map_is_not_reached_by_another_uplink_with_the_right_address(world: Rig, family: int) -> None:
    """As from a neighbour on eth1 who routes eth0's address by us (the weak host model, RFC 1122)."""
    target = address(world, 0, family)
    doors = {"red": url(target, 8081)}
    assert world.reached(doors, host=world.topology.outside, must=doors)
    pages: dict[str, str] = {}

    def attempt() -> None:
        with routed(world, target, 1, family):
            pages.update(world.reached(doors, host=world.topology.outside))

    seen = world.seen("tcp port 8081", attempt)
    assert seen["eth1"]  # it was tried there
    assert not [packet for packet in seen["eth0"] + seen["eth1"] if "Flags [S.]" in packet]  # the host may refuse it
    assert pages == {}


@contextlib.contextmanager
def routed(world: Rig, target: str, number: int, family: int) -> Iterator[None]:
    """Let the gateway send what is for an address of the host by the cable of that number."""
    cable = world.cables[number]
    route = f"{target} via {address(world, number, family)} dev {cable.port}"
    world.topology.gateway.sh(f"ip route add {route}")
    try:
        yield
    finally:
        world.topology.gateway.sh(f"ip route del {route}")


@FAMILIES
def test_outside_reaches_the_hosts_own_services_as_the_host_allows(world: Rig, family: int) -> None:
    doors = {f"host by eth{number}": url(address(world, number, family), HOST_PORT) for number in range(3)}
    check_pages(world.reached(doors, host=world.topology.outside, must=doors), set(doors))


@FAMILIES
def test_a_source_that_collides_inside_the_target_is_translated(world: Rig, family: int) -> None:
    """The asker's address, eth1's own, is one of `over`'s subnet."""
    end = url(address(world, 0, family), 8084)
    page = world.fetch("blue/web", end)
    assert page.startswith("over to ")
    assert not page.endswith(f" {address(world, 1, family)}")
    neighbour = world.topology.gateway.run(
        ["curl", "-sS", "--max-time", "60", "--interface", world.cables[1].router if family == 4 else "2001:db8:1::1",
         end]
    ).stdout  # fmt: skip
    assert neighbour.startswith("over to ")
