"""What can't be written down on a full disk ends nobody, and is written down later."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.system import CHURN, System
from tests.hosts import wait_until
from tests.invariants.rig import alive, kill


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System() as made:
        yield made
        process = made.rig.daemon.process
        assert process
        assert process.poll() is None


def test_an_app_that_ends_on_a_full_disk_is_noted_later(system: System) -> None:
    daemon = system.rig.daemon
    with contextlib.ExitStack() as running:
        pid = running.enter_context(system.rig.app("red", "other"))
        files = f"cat {daemon.run_dir}/instances/red/dnsmasq.*"
        wait_until(lambda: "other" in system.rig.host.sh(files), what="the manager has heard of it")
        with system.full_disk():
            running.close()
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="nsvisord has heard of the end")
            assert any(one["app"] == "other" for one in daemon.get("apps"))  # it can't be noted
        wait_until(lambda: all(one["app"] != "other" for one in daemon.get("apps")), what="it is noted")
    wait_until(lambda: "other" not in system.rig.host.sh(files), what="the manager has heard of its end")


def test_an_instance_that_comes_on_a_full_disk_says_why_it_waits_and_becomes_ready_later(system: System) -> None:
    daemon = system.rig.daemon
    with system.full_disk():
        system.churn(present=True)
        reason = wait_until(lambda: daemon.instance(CHURN)["reason"], what="its status")
        assert "ledger.json" in reason
        assert "No space left on device" in reason
        system.rig.wait_ready("red", "blue")  # the others don't mind
    system.rig.wait_ready(CHURN)
    with system.full_disk():  # what it leaves makes room
        system.churn(present=False)
    wait_until(lambda: all(one["name"] != CHURN for one in daemon.get()), what="its end")


def test_a_supervisor_that_starts_on_a_full_disk_adopts_all(system: System) -> None:
    daemon, before = system.rig.daemon, {name: system.rig.manager(name) for name in ("red", "blue", "wire")}
    with system.full_disk():
        daemon.kill()
        daemon.start()
        system.rig.wait_ready(*before)
    assert {name: system.rig.manager(name) for name in before} == before


def test_a_hub_that_was_born_on_a_full_disk_is_found_again(system: System) -> None:
    """Its lock's file is empty then; the kernel knows who has the lock."""
    daemon, old = system.rig.daemon, system.rig.hub()
    with system.full_disk():
        kill(old)
        born = wait_until(lambda: next((pid for pid in system.some(system.rig.hub) if pid != old), 0), what="a hub")
        system.rig.wait_ready("red")
        # On tmpfs the file keeps its page, so there is room for a number: what it would be elsewhere.
        os.truncate(system.rig.host.path(daemon.run_dir / "bus/hub.lock"), 0)
        daemon.stop()
        daemon.start()
    assert f"hub: adopted, pid {born}" in daemon.log()
    assert alive(born)


def test_a_manager_that_is_born_on_a_full_disk_lives_on(system: System) -> None:
    name, old = "blue", system.rig.manager("blue")
    heartbeat = system.rig.host.path(system.rig.daemon.run_dir / f"instances/{name}/heartbeat")
    with system.full_disk():
        os.truncate(heartbeat, 0)
        os.kill(old, signal.SIGKILL)
        # As nsvisord says: there may be no room for its record.
        born = wait_until(lambda: (pid := system.rig.manager(name)) != old and pid, what="a manager")
        touched = wait_until(lambda: heartbeat.stat().st_mtime_ns, what="its beat")
        wait_until(lambda: heartbeat.stat().st_mtime_ns > touched, what="the next one")
        system.rig.wait_ready(name)
    assert system.rig.manager(name) == born


@pytest.mark.parametrize("service", ["dnsmasq", "radvd"])
def test_a_service_that_starts_on_a_full_disk_is_noted_later(system: System, service: str) -> None:
    """Its record is of one that is dead, as long as there is no room for another."""
    manager = system.rig.manager("red")
    folder = system.rig.host.path(system.rig.daemon.run_dir / "instances/red")
    old = int((folder / f"{service}.pid").read_text())
    with system.full_disk():
        kill(old)
        wait_until(lambda: "No space left on device" in system.rig.status("red").reason, what="why it isn't noted")
    system.rig.wait_ready("red")
    assert system.rig.manager("red") == manager
    assert int((folder / f"{service}.running").read_text().split()[0]) != old
