"""A local user without rights reaches nothing of ours; a member of our group reaches what the group is for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attack.conftest import Tally
from tests.attack.outsider import admit, nsvisor, python, script
from tests.hosts import Daemon, Topology

USER, GROUP = 65534, 4242  # of nobody; ours
ENTRY = Path(__file__).with_name("user.py")
CONFIG: dict[str, Any] = {"instances": {"red": {"subnet": "10.1.0.0/24", "apps": {"web": {"user_data": "secret"}}}}}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Topology() as topology:
        host = topology.host
        admit(host)
        host.put_file("/etc/group", f"{host.read_file('/etc/group')}nsvisor:x:{GROUP}:\n")
        host.put_file("/etc/nsvisor/secrets/cloud", "secret", mode=0o600)
        host.put_file("/etc/nsvisor/private.yaml", "", mode=0o600)
        with Daemon(host, CONFIG) as made:
            made.wait_ready("red")
            yield made


def as_user(*argv: object, group: int = USER, uid: int = USER) -> list[object]:
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={group}", *argv]


def attack(daemon: Daemon, uid: int) -> dict[str, Any]:
    run_dir, state_dir = daemon.run_dir, daemon.state_dir
    words = [run_dir, state_dir, daemon.config_dir, daemon.pid, daemon.instance("red")["pid"]]
    argv = as_user(*python("-S", script(ENTRY), *words), uid=uid)
    found: dict[str, Any] = json.loads(daemon.host.run(argv).stdout)
    assert found["uid"] == uid
    return found


def test_a_local_user_is_refused(daemon: Daemon, tally: Tally) -> None:
    pid = daemon.instance("red")["pid"]
    found = attack(daemon, USER)
    tally(len(found["tries"]) + 1)
    assert [what for what, outcome in found["tries"].items() if outcome == "worked"] == []
    assert found["walk"] == {}
    daemon.wait_ready("red")
    assert daemon.instance("red")["pid"] == pid


def test_root_finds_what_the_user_looked_for(daemon: Daemon) -> None:
    """Else nothing would be proven: each file that the walk looks at is there."""
    run_dir, state_dir = daemon.run_dir, daemon.state_dir
    found = daemon.host.sh(f"find {run_dir} {state_dir} -type f").split()
    assert {f"{run_dir}/instances/red/dnsmasq.hosts", f"{run_dir}/logs/red.log", f"{state_dir}/ledger.json"} <= {*found}


def test_the_bus_grants_a_stranger_nothing(daemon: Daemon, tally: Tally) -> None:
    tally()
    done = daemon.host.run(as_user(*nsvisor("get", "instances")), env=daemon.environment, check=False)
    assert (done.returncode, done.stdout) == (7, "")
    assert "root" in done.stderr


def test_a_member_of_the_group_stays_who_it_is(daemon: Daemon, tally: Tally) -> None:
    tally()
    words = "id -u; grep CapEff /proc/self/status; ip link del br0 2>&1; ls /root 2>&1; true"
    argv = nsvisor("exec", "red", "--", "sh", "-c", words)
    said = daemon.host.run(as_user(*argv, group=GROUP), env=daemon.environment).stdout.splitlines()
    assert said[0] == str(USER)
    assert int(said[1].split()[1], 16) == 0
    assert "not permitted" in said[2]
    assert "denied" in said[3]
    assert daemon.host.run(as_user(*argv), env=daemon.environment, check=False).returncode == 7
