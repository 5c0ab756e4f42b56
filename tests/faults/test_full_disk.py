"""What can't be written down on a full disk ends nobody, and is written down later."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.faults.system import System
from tests.hosts import wait_until


def test_an_app_that_ends_on_a_full_disk_is_noted_later() -> None:
    with System() as system, contextlib.ExitStack() as running:
        daemon = system.rig.daemon
        pid = running.enter_context(system.rig.app("red", "other"))
        with system.full_disk():
            running.close()
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="nsvisord has heard of the end")
            assert any(one["app"] == "other" for one in daemon.get("apps"))  # it can't be noted
        wait_until(lambda: all(one["app"] != "other" for one in daemon.get("apps")), what="it is noted")
        assert daemon.process
        assert daemon.process.poll() is None
