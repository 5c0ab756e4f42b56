"""Limits where there is no control group to use: what rlimits can do."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import Daemon, Host, wait_until

SMALL = {"memory": "128M", "processes": 200, "open_files": 400, "apps_memory": "64M"}
EATS = "bytearray(200 << 20)"


def config(limits: dict[str, Any]) -> dict[str, Any]:
    return {"instances": {"red": {"uplinks": [], "subnet": "10.1.0.0/24", "limits": limits}, "blue": {"uplinks": []}}}


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Host() as host, Daemon(host, config(SMALL)) as daemon:
        daemon.wait_ready("red", "blue")
        yield daemon


def limits_of(pid: int) -> dict[str, list[str]]:
    """Return soft and hard limit of a process by name, as proc(5) has them."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return {line[:26].rstrip(): line[26:].split()[:2] for line in lines}


def pids_of(daemon: Daemon, name: str) -> dict[str, int]:
    return {process["name"]: process["pid"] for process in daemon.instance(name)["processes"]}


def test_a_manager_and_its_services_have_the_limits_of_their_instance(daemon: Daemon) -> None:
    for pid in pids_of(daemon, "red").values():
        found = limits_of(pid)
        assert found["Max processes"] == ["200", "200"]
        assert found["Max open files"] == ["400", "400"]
        assert found["Max data size"] == [str(128 << 20)] * 2
    assert limits_of(daemon.instance("blue")["pid"])["Max processes"] == ["512", "512"]


def test_changed_limits_hold_whom_they_find(daemon: Daemon) -> None:
    pids = pids_of(daemon, "red")
    daemon.configure(config({**SMALL, "open_files": 300}))
    if may_change_others():
        wait_until(lambda: {limits_of(pid)["Max open files"][0] for pid in pids.values()} == {"300"})
    else:
        wait_until(lambda: "keeps its old limits" in daemon.log(), what="that it is told")
    daemon.cli("restart", "manager", "red", check=True)

    def replaced() -> bool:
        pid = daemon.instance("red")["pid"]
        return pid not in {0, *pids.values()} and limits_of(pid)["Max open files"] == ["300", "300"]

    wait_until(replaced, what="a manager with the new limits")


def may_change_others() -> bool:
    """CAP_SYS_RESOURCE; containers often go without."""
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(effective.split()[1], 16) >> 24 & 1)


def test_a_command_over_its_memory_gets_none_and_others_do(daemon: Daemon) -> None:
    greedy = daemon.cli("run", "red", "--", sys.executable, "-c", EATS)
    assert greedy.returncode == 1
    assert "MemoryError" in greedy.stderr
    assert daemon.cli("run", "blue", "--", sys.executable, "-c", EATS).returncode == 0


def test_who_has_no_limits_yet_runs_with_those_of_all(daemon: Daemon) -> None:
    """The hub and nsvisord aren't held to an instance's limits."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == int(limits_of(daemon.pid)["Max open files"][1])
    assert limits_of(daemon.pid)["Max processes"] == limits_of(os.getpid())["Max processes"]


def test_use_and_limit_are_shown(daemon: Daemon) -> None:
    def shown() -> str:
        text = daemon.cli("describe", "instance", "red", check=True).stdout
        assert "resources:" in text
        return text

    rows = {line.split()[0]: line.split() for line in wait_until(shown).splitlines() if line.startswith("  ")}
    assert rows["processes"][2] == "200"
    assert 2 <= int(rows["processes"][1]) < 200, "manager and dnsmasq"
    assert rows["open_files"][2] == "400"
    assert rows["memory"][3:5] == ["128.0", "MiB"]
    assert rows["bus_messages"][2] == "1000"
