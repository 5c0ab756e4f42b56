"""Limits by control groups: only where this machine may be changed, and has the unified hierarchy for itself."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import Daemon, Host, wait_until

pytestmark = pytest.mark.usefixtures("guest")

HIERARCHY = Path("/sys/fs/cgroup")
MIB = 1 << 20
SMALL = {"memory": "128M", "processes": 100, "cpu_weight": 50, "apps_memory": "64M", "apps_processes": 20}
EATS = f"bytearray({200 * MIB})"
# Forks as much as it can, then tells how often it could.
FORKS = """
import os, signal
children = []
try:
    while len(children) < 200:
        pid = os.fork()
        if not pid:
            signal.pause()
        children.append(pid)
except OSError:
    pass
print(len(children))
"""


@pytest.fixture
def root() -> Iterator[Path]:
    """A control group that nobody else uses."""
    (HIERARCHY / "cgroup.subtree_control").write_text("+cpu +memory +pids")
    made = HIERARCHY / f"nsvisor-test-{os.getpid()}"
    made.mkdir()
    try:
        yield made
    finally:
        (made / "cgroup.kill").write_text("1")
        wait_until(lambda: "populated 0" in (made / "cgroup.events").read_text())
        for folder, _, _ in os.walk(made, topdown=False):
            Path(folder).rmdir()


@pytest.fixture
def daemon(root: Path) -> Iterator[Daemon]:
    with Host() as host, Daemon(host, config(SMALL), options=("--cgroup", str(root))) as daemon:
        daemon.wait_ready("red", "blue")
        yield daemon


def config(limits: dict[str, Any]) -> dict[str, Any]:
    red = {"uplinks": [], "subnet": "10.1.0.0/24", "limits": limits}
    return {"instances": {"red": red, "blue": {"uplinks": []}}}


def group_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text().rpartition("::")[2].strip()


def said(group: Path, *files: str) -> list[str]:
    return [(group / file).read_text().strip() for file in files]


def test_all_of_an_instance_is_in_its_groups_and_nothing_else(daemon: Daemon, root: Path) -> None:
    pids = {process["pid"] for process in daemon.instance("red")["processes"]}
    assert len(pids) > 1, "the manager and dnsmasq"
    assert {group_of(pid) for pid in pids} == {f"/{root.name}/red/manager"}
    assert {int(pid) for pid in said(root / "red/manager", "cgroup.procs")[0].split()} >= pids  # radvd has a child
    assert daemon.cli("run", "red", "--", "cat", "/proc/self/cgroup", check=True).stdout.endswith("/red/apps\n")
    assert said(root / "red", "cpu.weight") == ["50"]
    assert said(root / "red/manager", "memory.max", "pids.max") == [str(128 * MIB), "100"]
    assert said(root / "blue/manager", "memory.max", "pids.max") == [str(256 * MIB), "512"]
    assert said(root / "blue/apps", "memory.max", "pids.max") == ["max", "4096"]
    assert f"/{root.name}/" not in group_of(daemon.pid)


def test_commands_over_their_limits_harm_nobody_else(daemon: Daemon) -> None:
    before = daemon.instance("red")["pid"], daemon.instance("blue")["pid"]
    assert daemon.cli("run", "red", "--", sys.executable, "-c", EATS).returncode == 128 + signal.SIGKILL
    forked = int(daemon.cli("run", "red", "--", sys.executable, "-c", FORKS, check=True).stdout)
    assert 10 <= forked < 20
    assert daemon.cli("run", "blue", "--", sys.executable, "-c", EATS).returncode == 0
    assert (daemon.instance("red")["pid"], daemon.instance("blue")["pid"]) == before

    def told() -> bool:
        shown = daemon.cli("describe", "instance", "red", "-o", "json", check=True).stdout
        return '"refused": 1' in shown

    wait_until(told, what="that memory was refused")


def test_a_manager_killed_for_its_memory_says_so_and_comes_back(daemon: Daemon, root: Path) -> None:
    first = daemon.instance("red")["pid"]
    (root / "red/manager/memory.max").write_text("1M")

    def report() -> str:
        status = daemon.instance("red")
        return status["crashes"][0]["how"] if status["crashes"] and status["pid"] not in {0, first} else ""

    how = wait_until(report, what="a crash report")
    assert "killed by SIGKILL: out of memory, with its services over 128M" in how
    daemon.wait_ready("red")
    assert said(root / "red/manager", "memory.max") == [str(128 * MIB)]


def test_a_restart_writes_nothing_and_changed_limits_are_written(daemon: Daemon, root: Path) -> None:
    pids = [daemon.instance(name)["pid"] for name in ("red", "blue")]
    daemon.kill()
    written = daemon.log().count("echo ")
    daemon.start()
    daemon.wait_ready("red", "blue")
    assert [daemon.instance(name)["pid"] for name in ("red", "blue")] == pids
    assert daemon.log().count("echo ") == written
    daemon.configure(config({**SMALL, "memory": "96M", "apps_memory": None}))
    wait_until(lambda: said(root / "red/manager", "memory.max") == [str(96 * MIB)])
    wait_until(lambda: said(root / "red/apps", "memory.max") == ["max"])
    assert [daemon.instance(name)["pid"] for name in ("red", "blue")] == pids


def test_a_process_outside_is_put_back_and_a_deleted_instance_leaves_no_group(daemon: Daemon, root: Path) -> None:
    pid = daemon.instance("red")["pid"]
    (HIERARCHY / "cgroup.procs").write_text(str(pid))
    daemon.kill()
    daemon.start()
    wait_until(lambda: group_of(pid) == f"/{root.name}/red/manager", what="the manager is in its group")
    daemon.configure({"instances": {"blue": {"uplinks": []}}})
    wait_until(lambda: not (root / "red").exists(), what="red's group is gone")
    assert (root / "blue").exists()
