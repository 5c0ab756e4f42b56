"""Invariant 1: nobody switches namespaces. Every thread is where its process was born, whatever happens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import wait_until
from tests.invariants.rig import Rig, kill, parent

KINDS = ("net", "user", "mnt")


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


def namespaces(pid: int | str, kind: str = "net") -> set[str]:
    """Return the namespaces of all threads of a process."""
    return {os.readlink(task / "ns" / kind) for task in Path(f"/proc/{pid}/task").iterdir()}


def strays(rig: Rig) -> list[str]:
    """Return which threads are in a network namespace that isn't their own."""
    host = namespaces(rig.host.pid)
    found = []
    for what, pid in (("nsvisord", rig.daemon.pid), ("hub", rig.hub()), ("spawner", rig.spawner())):
        if namespaces(pid) != host:
            found.append(f"{what}: {namespaces(pid)}, not {host}")
    for name in rig.instances:
        own = {f"net:[{rig.inode(name)}]"}
        for what, pid in (("manager", rig.manager(name)), ("dnsmasq", rig.dnsmasq(name))):
            if namespaces(pid) != own:
                found.append(f"{what} of {name}: {namespaces(pid)}, not {own}")
    return found


def test_every_thread_is_in_its_own_namespace(rig: Rig) -> None:
    assert not strays(rig)


def test_the_namespaces_are_not_the_hosts(rig: Rig) -> None:
    """Else the test above could pass with everything in one."""
    found = [namespaces(rig.host.pid), *(namespaces(rig.manager(name)) for name in rig.instances)]
    assert len(set.union(*found)) == len(found) == 3


def test_it_stays_so_through_births_and_changes(rig: Rig) -> None:
    """A stray shows in a manager that was born late, or in threads that a change of the config made."""
    rig.instances["green"] = {"subnet": "10.2.0.0/24"}
    rig.configure()
    rig.wait_ready("green")
    rig.host.sh("ip link del v-green")
    wait_until(lambda: "up0" in rig.host.sh("ip -n green link"), what="green's link")
    old = rig.manager("red")
    kill(old)
    wait_until(lambda: (status := rig.ready("red")) and status.pid != old, what="red's manager")
    with rig.app("red", "web"):
        assert rig.daemon.cli("exec", "red", "--", "true").returncode == 0
        assert not strays(rig)


def test_a_managers_parent_is_the_supervisor(rig: Rig) -> None:
    assert {parent(rig.manager(name)) for name in rig.instances} == {rig.daemon.pid}


def test_exec_is_in_the_instances_network_but_not_in_its_managers_mounts(rig: Rig) -> None:
    script = "; ".join(f"readlink /proc/self/ns/{kind}" for kind in KINDS)
    net, user, mounts = rig.daemon.cli("exec", "red", "--", "sh", "-c", script, check=True).stdout.split()
    manager = rig.manager("red")
    assert {net} == namespaces(manager, "net") != namespaces(rig.host.pid, "net")
    assert {user} == namespaces(rig.host.pid, "user") != namespaces(manager, "user")
    assert mounts not in namespaces(manager, "mnt") | namespaces(rig.host.pid, "mnt")
