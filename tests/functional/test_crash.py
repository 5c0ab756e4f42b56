"""What a manager that dies leaves behind, and how managers are replaced without a trace of trouble."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hosts import Daemon, Host, wait_until

CONFIG = {"instances": {name: {"subnet": "10.1.0.0/24", "uplinks": []} for name in ("red", "blue")}}


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Host() as host, Daemon(host, CONFIG) as daemon:
        daemon.wait_ready("red", "blue")
        yield daemon


def crash(daemon: Daemon, reports: int) -> list[dict[str, Any]]:
    """Kill red's manager as a defect would; return the instance's crash reports when there are so many."""
    os.kill(daemon.instance("red")["pid"], signal.SIGSEGV)

    def found() -> list[dict[str, Any]]:
        crashes: list[dict[str, Any]] = daemon.instance("red")["crashes"]
        return crashes if len({one["path"] for one in crashes}) >= reports else []

    made = wait_until(found, what="the report")
    daemon.wait_ready("red")
    return made


def test_a_crash_leaves_a_report_that_describe_shows(daemon: Daemon) -> None:
    pid = daemon.instance("red")["pid"]
    [report] = crash(daemon, 1)
    assert report["how"].startswith(f"manager (pid {pid}) killed by SIGSEGV after ")
    shown = daemon.cli("describe", "instance", "red", check=True).stdout
    assert "crashes:" in shown
    assert report["path"] in shown
    text = daemon.host.read_file(report["path"])
    for part in ("--- log", f"manager of red: pid {pid}", "bridge: 10.1.0.1/24", "$ ip -br addr", "table inet nsvisor"):
        assert part in text
    assert daemon.instance("blue")["crashes"] == []


def test_the_last_reports_are_kept_over_a_restart_and_go_with_the_instance(daemon: Daemon) -> None:
    made = [crash(daemon, number)[-1]["path"] for number in (1, 2, 3)]
    os.kill(daemon.instance("red")["pid"], signal.SIGSEGV)
    wait_until(lambda: made[0] not in str(daemon.instance("red")["crashes"]), what="the oldest is gone")
    kept = [one["path"] for one in daemon.instance("red")["crashes"]]
    assert kept[:2] == made[1:]
    daemon.wait_ready("red")
    daemon.stop()
    daemon.start()
    assert wait_until(lambda: daemon.instance("red")["crashes"])[0]["path"] == made[1]
    daemon.configure({"instances": {"blue": CONFIG["instances"]["blue"]}})
    wait_until(lambda: [one["name"] for one in daemon.get()] == ["blue"], what="red's end")
    assert not daemon.host.path(daemon.state_dir / "crashes" / "red").exists()


def test_managers_are_replaced_one_after_another(daemon: Daemon) -> None:
    before = {one["name"]: (one["pid"], one["restarts"]) for one in daemon.get()}
    services = {name: daemon.host.read_file(f"/run/nsvisor/instances/{name}/dnsmasq.pid") for name in before}
    done = daemon.cli("restart", "managers", "--rolling", check=True)
    assert done.stdout.splitlines() == ["instance blue: manager replaced", "instance red: manager replaced"]
    for one in daemon.get():
        assert one["pid"] not in (0, before[one["name"]][0])
        assert one["restarts"] == 0  # of trouble
        assert one["crashes"] == []
        assert daemon.host.read_file(f"/run/nsvisor/instances/{one['name']}/dnsmasq.pid") == services[one["name"]]


def test_one_manager_is_replaced_and_an_unknown_one_is_told(daemon: Daemon) -> None:
    before = {one["name"]: one["pid"] for one in daemon.get()}
    daemon.cli("restart", "manager", "red", check=True)
    after = {one["name"]: one["pid"] for one in daemon.get()}
    assert after["red"] != before["red"]
    assert after["blue"] == before["blue"]
    refused = daemon.cli("restart", "managers", "green")
    assert refused.returncode == 3
    assert "no instance green" in refused.stderr


def test_the_next_is_replaced_only_when_the_last_ones_successor_is_ready(daemon: Daemon) -> None:
    before = {one["name"]: one["pid"] for one in daemon.get()}
    os.kill(before["blue"], signal.SIGSTOP)  # it can't make room
    try:
        done = daemon.cli("restart", "managers", "--rolling", "--timeout", "2s")
    finally:
        with contextlib.suppress(ProcessLookupError):  # on a slow machine it was ended by now, as one that hangs
            os.kill(before["blue"], signal.SIGCONT)
    assert done.returncode == 5
    assert "not replaced after 2 s: instance blue" in done.stderr
    assert daemon.instance("red")["pid"] == before["red"]
    wait_until(lambda: daemon.instance("blue")["pid"] not in {0, before["blue"]}, what="blue's successor")
