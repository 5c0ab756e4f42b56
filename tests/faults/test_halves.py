"""What was begun, and its beginner is gone: it is ended or finished, never in the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.hosts import wait_until
from tests.invariants.rig import Rig, alive, kill, name_of

LATE = {"subnet": "10.9.0.0/24"}


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig({"red": {"subnet": "10.1.0.0/24"}}) as made:
        yield made


def test_an_instance_deleted_while_its_namespace_is_made(rig: Rig) -> None:
    """The spawner makes it when nobody waits for it any more."""
    state = rig.run_dir / "state/late.json"
    pin = rig.host.path("/run/netns/late")
    spawner = rig.spawner()
    os.kill(spawner, signal.SIGSTOP)
    rig.instances["late"] = LATE
    rig.configure()
    wait_until(state.exists, what="the intent")
    del rig.instances["late"]
    rig.configure()
    wait_until(lambda: "instance late: no longer" in rig.daemon.log(), what="its end")
    os.kill(spawner, signal.SIGCONT)
    wait_until(lambda: not state.exists() and not pin.exists(), what="nothing of it")
    rig.instances["late"] = LATE
    rig.configure()
    rig.wait_ready("late")
    assert "is not ours" not in rig.daemon.log()


@pytest.mark.parametrize("service", ["dnsmasq", "radvd"])
def test_a_service_that_no_record_names(rig: Rig, service: str) -> None:
    """As one that was started when there was no room for its pid, and whose manager died then."""
    folder = rig.run_dir / "instances/red"
    lost = int((folder / f"{service}.pid").read_text())
    kept = [int((folder / f"{other}.pid").read_text()) for other in {"dnsmasq", "radvd"} - {service}]
    manager = rig.manager("red")
    os.kill(rig.daemon.pid, signal.SIGSTOP)
    kill(manager)
    (folder / f"{service}.pid").write_text("")
    (folder / f"{service}.running").unlink()
    os.kill(rig.daemon.pid, signal.SIGCONT)
    wait_until(lambda: not alive(lost), what="the end of the one that nobody knows")

    def next_one() -> bool:
        text = (folder / f"{service}.pid").read_text().strip()
        return text.isdecimal() and name_of(int(text)) == service

    wait_until(next_one, what="the next one")
    wait_until(lambda: rig.ready("red").pid != manager, what="red ready")
    assert all(alive(pid) for pid in kept), "what was known goes on"
