"""An instance with the subnet of the host's own uplink: everything works but what its addresses hide from it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.hosts import Daemon, Topology, wait_until

PAGE = "busybox httpd -f -p 80 -h /run/page"
INSTANCES = {
    "same": {  # the subnet of eth0; the gateway and the resolver have addresses of it
        "subnet": "192.168.0.0/24",
        "apps": {"web": {"address": "192.168.0.80", "ports": ["8080:80/tcp"]}},
    },
    "other": {},
}


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with Topology() as topology, Daemon(topology.host, {"instances": INSTANCES}) as daemon:
        daemon.wait_ready("same", "other")
        topology.host.put_file("/run/page/index.html", "the app's page")
        app = topology.host.popen(
            [daemon.command, "run", "same", "--name", "web", "--", *PAGE.split()],
            env=daemon.environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(lambda: "the app's page" in topology.host.fetch("http://192.168.0.2:8080/"), what="the app")
        topology.daemon = daemon  # type: ignore[attr-defined]  # the tests' own
        yield topology
        app.terminate()
        app.wait()


def run(topology: Topology, instance: str, *argv: str) -> str:
    done = topology.daemon.cli("run", instance, "--", *argv, check=True)  # type: ignore[attr-defined]
    return str(done.stdout)


def test_names_and_pages_outside_are_reached(topology: Topology) -> None:
    """The resolver's address lies inside the instance's own subnet: it is asked by the host's end of the link."""
    assert "outside to 192.168.0.2" in run(topology, "same", "curl", "-sS", "-m", "30", "http://www.example.test/")


def test_a_port_map_is_reached_from_an_address_of_the_same_subnet(topology: Topology) -> None:
    """The gateway is 192.168.0.1: inside, replies to it would go to the bridge."""
    assert topology.gateway.fetch("http://192.168.0.2:8080/") == "the app's page"


def test_a_port_map_is_reached_from_the_host_and_from_another_instance(topology: Topology) -> None:
    assert topology.host.fetch("http://192.168.0.2:8080/") == "the app's page"
    assert "the app's page" in run(topology, "other", "curl", "-sS", "-m", "30", "http://192.168.0.2:8080/")


def test_a_manager_is_born_when_its_link_is_there(topology: Topology) -> None:
    log = topology.daemon.log()  # type: ignore[attr-defined]
    for name in INSTANCES:
        assert log.index(f"ip link add v-{name} ") < log.index(f"instance {name}: manager started"), log
        assert "link up0 is not there yet" not in topology.host.read_file(f"/run/nsvisor/logs/{name}.log")
