"""DNS goes where the packets go: to the resolver of the selected uplink, without a word to dnsmasq."""

from __future__ import annotations

from tests.functional.uplinks.rig import Rig
from tests.hosts import wait_until
from tests.hosts.topology import WHO


def answer(rig: Rig, instance: str) -> str:
    """Return the address that an app gets for a name that each uplink's resolver answers otherwise; empty: none."""
    bridge = rig.status(instance).subnet
    assert bridge is not None
    argv = ["busybox", "nslookup", "-type=a", WHO, str(bridge[1])]
    said = rig.run(f"{instance}/web", *argv, check=False)
    found = [line.partition(": ")[2].strip() for line in said.splitlines() if line.startswith("Address: 192.0.2.")]
    return found[0] if found else ""


def test_each_instance_asks_the_resolver_of_its_uplink(moving: Rig) -> None:
    for instance, number in {"mover": 0, "faithful": 1, "other": 2}.items():
        moving.wait_bound(instance, f"eth{number}")
        wait_until(lambda: answer(moving, instance), what=f"an answer for {instance}")  # noqa: B023
        assert answer(moving, instance) == f"192.0.2.{number + 1}"
        assert f"{WHO} from 192.168.{number}.2" in moving.topology.dns_log(number)


def test_a_failover_changes_the_resolver_and_not_dnsmasq(moving: Rig) -> None:
    moving.wait_bound("mover", "eth0")
    pid = moving.dnsmasq("mover")
    conf = moving.host.read_file(moving.daemon.run_dir / "instances/mover/dnsmasq.conf")
    moving.cables[0].unplug()
    try:
        moving.wait_bound("mover", "eth1")
        wait_until(lambda: answer(moving, "mover") == "192.0.2.2", what="the other resolver's answer")
        assert moving.dnsmasq("mover") == pid
        assert moving.host.read_file(moving.daemon.run_dir / "instances/mover/dnsmasq.conf") == conf
    finally:
        moving.cables[0].plug()
    moving.wait_bound("mover", "eth0")
    wait_until(lambda: answer(moving, "mover") == "192.0.2.1", what="the first resolver's answer")
    assert moving.dnsmasq("mover") == pid
