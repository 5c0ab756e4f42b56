"""A manager that was taken over puts traps in the place of what others read: its heartbeat, its log, its files."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.attack.conftest import Tally
from tests.attack.infiltrated import OUTSIDE, harmless, infiltrate, infiltrated
from tests.attack.infiltrator import ESCAPES
from tests.hosts import wait_until
from tests.invariants.rig import Rig, kill


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with infiltrated() as made:
        yield made


def test_a_time_that_is_none_hides_no_hung_manager(rig: Rig, tally: Tally) -> None:
    tally()
    rig.wait_ready("red", "blue")
    beat = rig.daemon.run_dir / "instances/red/heartbeat"
    hung = rig.manager("blue")
    rig.host.run(["sh", "-c", f"rm {beat}"])
    rig.host.run(infiltrate(rig, "beat", beat, "nan"))
    os.kill(hung, signal.SIGSTOP)
    wait_until(lambda: (found := rig.ready("blue")) and found.pid != hung, what="blue's next manager")
    rig.wait_ready("red")


def test_a_log_without_end_fills_nothing(rig: Rig, tally: Tally) -> None:
    tally()
    size = 96 * 2**20
    said = rig.host.run(infiltrate(rig, "flood", rig.manager("red"), size)).stdout
    assert "wrote" in said
    log = rig.run_dir / "logs/red.log"
    wait_until(lambda: log.stat().st_size < 2**20, what="the log is cut")
    rig.wait_ready("blue")
    done = rig.daemon.cli("logs", "red", "-n", "5", check=True)
    assert ESCAPES[:4] not in done.stdout
    harmless(done.stdout)


def test_its_files_trap_nobody_and_go_with_it(rig: Rig, tally: Tally) -> None:
    folders = [rig.daemon.run_dir / "instances/red", rig.daemon.state_dir / "instances/red"]
    tally(len(folders))
    manager = rig.manager("red")
    rig.host.run(infiltrate(rig, "litter", OUTSIDE, *folders))
    with contextlib.suppress(ProcessLookupError):
        kill(manager)
    rig.daemon.stop()
    rig.daemon.start()
    rig.wait_ready("blue")
    del rig.instances["red"]
    rig.configure()
    wait_until(lambda: not any(rig.host.path(folder).exists() for folder in folders), what="its folders are gone")
    assert rig.host.sh(f"cat {OUTSIDE}; stat -c ' %a %u' {OUTSIDE}").strip() == "untouched 600 0"
    assert "/red" not in rig.host.sh("ls -d /run/netns/* || true")
    rig.wait_ready("blue")
    assert "Traceback" not in rig.daemon.log(), rig.daemon.log()[-5000:]
