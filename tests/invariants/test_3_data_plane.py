"""Invariant 3: the data plane outlives every process of ours; what comes back finds what is there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.hosts import wait_until
from tests.hosts.topology import OUTSIDE
from tests.invariants.rig import OUTER_PORT, RATE, TCP_PORT, UDP_PORT, Rig, alive, finish, kill

OUTAGE = f"""table inet outage {{
  chain everything {{
    type filter hook forward priority 0; policy drop;
    iifname br0 udp dport {UDP_PORT} counter
    iifname up0 udp dport {UDP_PORT} counter
  }}
}}"""


class Traffic:
    """What runs through instance red: streams of numbered datagrams both ways, and one TCP transfer."""

    def __init__(self, rig: Rig, app: int) -> None:
        self.rig, self.app = rig, app
        rig.serve_flows(app)

    def begin(self) -> list[subprocess.Popen[str]]:
        gateway = self.rig.topology.gateway
        return [self.rig.outwards(self.app), self.rig.flow("stream", "192.168.0.2", OUTER_PORT, RATE, host=gateway)]

    def transfer(self) -> subprocess.Popen[str]:
        return self.rig.flow("source", OUTSIDE, TCP_PORT, app=self.app)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


@pytest.fixture(scope="module")
def traffic(rig: Rig) -> Iterator[Traffic]:
    with rig.app("red", "web") as app:
        yield Traffic(rig, app)


@pytest.fixture(scope="module", autouse=True)
def transfer(traffic: Traffic) -> Iterator[None]:
    """One connection lives through the whole file."""
    flow = traffic.transfer()
    yield
    (counted,) = finish(flow)
    assert counted["arrived"] == counted["sent"] > 2**20, counted


def fixtures_of_the_kernel(rig: Rig) -> dict[str, object]:
    """Return what must be the very same thing after a restart: namespaces by inode, links by index."""
    links = {
        where: sorted(
            line.split()[0] + line.split()[1]
            for line in rig.host.sh(f"ip -o {where} link").splitlines()
            if "p-run-" not in line
        )
        for where in ("", "-n red", "-n blue")
    }
    return {**links, **{name: rig.inode(name) for name in rig.instances}}


def supervisor(rig: Rig) -> None:
    rig.daemon.kill()
    rig.daemon.start()


def supervisor_by_sigterm(rig: Rig) -> None:
    others = [rig.hub(), *(rig.manager(name) for name in rig.instances)]
    assert rig.daemon.stop() == 0
    assert all(alive(pid) for pid in others)
    rig.daemon.start()


def hub(rig: Rig) -> None:
    old = rig.hub()
    kill(old)
    wait_until(lambda: alive(rig.hub()) and rig.hub() != old, what="the hub")


def spawner(rig: Rig) -> None:
    old = rig.spawner()
    kill(old)
    assert wait_until(rig.spawner, what="the spawner") != old


def manager(rig: Rig) -> None:
    """Of red, whose traffic is counted: it looks after dnsmasq too."""
    old = rig.manager("red")
    kill(old)
    wait_until(lambda: rig.publisher("nsmanager/red/NamespaceStatus") not in {0, old}, what="red's manager")


def managers_of_all(rig: Rig) -> None:
    for name, pid in {name: rig.manager(name) for name in rig.instances}.items():
        kill(pid)
        wait_until(
            lambda: rig.publisher(f"nsmanager/{name}/NamespaceStatus") not in {0, pid},  # noqa: B023
            what=f"{name}'s manager",
        )


def dnsmasq(rig: Rig) -> None:
    old = rig.dnsmasq("red")
    kill(old)
    wait_until(lambda: rig.dnsmasq("red") != old and alive(rig.dnsmasq("red")), what="dnsmasq")


def all_at_once(rig: Rig) -> None:
    victims = [rig.spawner(), rig.hub(), *(rig.manager(name) for name in rig.instances), rig.dnsmasq("red")]
    rig.daemon.kill()
    for pid in victims:
        if alive(pid):  # the spawner ends with the supervisor
            kill(pid)
    rig.daemon.start()
    wait_until(lambda: alive(rig.dnsmasq("red")), what="dnsmasq")


KILLINGS: tuple[Callable[[Rig], None], ...] = (
    supervisor, supervisor_by_sigterm, hub, spawner, manager, managers_of_all, dnsmasq, all_at_once
)  # fmt: skip


@pytest.mark.parametrize("killing", KILLINGS, ids=lambda killing: killing.__name__)
def test_a_killed_process_loses_no_packet(rig: Rig, traffic: Traffic, killing: Callable[[Rig], None]) -> None:
    before = fixtures_of_the_kernel(rig)
    flows = traffic.begin()
    killing(rig)
    rig.wait_ready(*rig.instances)
    for counted in finish(*flows):
        assert counted["lost"] == 0 < counted["sent"], counted
    assert fixtures_of_the_kernel(rig) == before


def test_what_was_killed_is_of_use_again(rig: Rig) -> None:
    """Each of the killed does its work once more: a change needs the supervisor, the hub and a manager, a birth the
    spawner, a lease dnsmasq.
    """
    rig.instances["green"] = {"subnet": "10.3.0.0/24"}
    rig.configure()
    rig.wait_ready("green")
    page = rig.daemon.cli("run", "red", "--", "curl", "-sS", "--max-time", "30", f"http://{OUTSIDE}/")
    assert page.stdout.startswith("outside to 192.168.0.2"), page.stdout + page.stderr


def test_the_namespaces_are_pinned_for_everybody(rig: Rig) -> None:
    for name in rig.instances:
        assert "up0" in rig.host.run(["ip", "netns", "exec", name, "ip", "link"]).stdout


def test_the_streams_see_a_loss(rig: Rig, traffic: Traffic) -> None:
    """Without this the tests above could pass though nothing was counted."""
    flows = traffic.begin()
    rig.host.sh(f"nft '{OUTAGE}'", netns="red")
    wait_until(lambda: "packets 0" not in rig.host.sh("nft list table inet outage", netns="red"), what="the losses")
    rig.host.sh("nft delete table inet outage", netns="red")
    counted = finish(*flows)
    assert all(0 < one["lost"] < one["sent"] for one in counted), counted
