"""Files of an instance that is gone stop no other of its name."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.hosts import Daemon, Host, wait_until

BLUE = {"blue": {"subnet": "10.1.0.0/24", "uplinks": []}}
RED = {"red": {"subnet": "10.2.0.0/24", "uplinks": []}}
ANOTHER = 1_600_000_000  # a uid that is nobody's


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Host() as host, Daemon(host, {"instances": BLUE}) as daemon:
        daemon.wait_ready("blue")
        yield daemon


def test_what_another_instance_of_that_name_left_is_deleted(daemon: Daemon) -> None:
    """Its files are under uids that the new one's services can't read."""
    for folder in (daemon.state_dir, daemon.run_dir):
        left = folder / "instances" / "red" / "leases"
        daemon.host.put_file(left, "left\n", mode=0o600)
        for path in (left, left.parent):
            os.chown(daemon.host.path(path), ANOTHER, ANOTHER)
    daemon.configure({"instances": {**BLUE, **RED}})
    daemon.wait_ready("red")
    assert not daemon.host.path(daemon.run_dir / "instances" / "red" / "leases").exists()


def test_files_that_can_not_be_deleted_keep_no_instance(daemon: Daemon) -> None:
    daemon.configure({"instances": {**BLUE, **RED}})
    daemon.wait_ready("red")
    stuck = daemon.state_dir / "instances" / "red" / "stuck"
    daemon.host.sh(f"mkdir {stuck}; mount -t tmpfs tmpfs {stuck}")
    daemon.configure({"instances": BLUE})
    wait_until(lambda: "instance red: its files stay, remove" in daemon.log(), what="the warning")
    wait_until(lambda: "red" not in daemon.cli("get", "instances", check=True).stdout, what="its end")
    daemon.host.sh(f"umount {stuck}")
    daemon.configure({"instances": {**BLUE, **RED}})
    daemon.wait_ready("red")
