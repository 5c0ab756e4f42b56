"""Invariant 2: the kernel enforces it. What a manager is allowed, as the kernel says; tests/attack tries the rest."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.topology import OUTSIDE
from tests.invariants.rig import Rig

# linux/capability.h: KILL, SETGID, SETUID, NET_BIND_SERVICE, NET_ADMIN, NET_RAW
ALLOWED = sum(1 << number for number in (5, 6, 7, 10, 12, 13))
UIDS = 65536


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


def status_of(pid: int) -> dict[str, str]:
    """Return the fields of /proc/pid/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_a_manager_has_six_capabilities_and_gets_no_more(rig: Rig) -> None:
    for name in rig.instances:
        found = status_of(rig.manager(name))
        assert int(found["CapBnd"], 16) == ALLOWED
        for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            assert int(found[kind], 16) & ~ALLOWED == 0, kind
        assert found["NoNewPrivs"] == "1"


def test_a_service_has_no_more_than_its_manager(rig: Rig) -> None:
    found = status_of(rig.dnsmasq("red"))
    assert int(found["CapBnd"], 16) == ALLOWED
    assert found["NoNewPrivs"] == "1"


def test_each_instance_has_a_user_namespace_and_a_uid_range_of_its_own(rig: Rig) -> None:
    bases = {name: rig.status(name).uid_base for name in rig.instances}
    assert abs(bases["red"] - bases["blue"]) >= UIDS
    for name, base in bases.items():
        for pid in (rig.manager(name), rig.dnsmasq(name)):
            assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", str(base), str(UIDS)]
            uids = {int(uid) for uid in status_of(pid)["Uid"].split()}
            assert uids <= set(range(base, base + UIDS))
    users = {os.readlink(f"/proc/{pid}/ns/user") for pid in (rig.host.pid, rig.manager("red"), rig.manager("blue"))}
    assert len(users) == 3


def test_a_manager_can_make_no_namespaces(rig: Rig) -> None:
    inside = ["nsenter", "-t", rig.manager("red"), "-U", "-m", "--", "sh", "-c"]
    script = "for kind in user net mnt; do cat /proc/sys/user/max_${kind}_namespaces; done"
    assert rig.host.run([*inside, script]).stdout.split() == ["0", "0", "0"]


def test_a_manager_sees_no_others_processes_and_files(rig: Rig) -> None:
    root = Path(f"/proc/{rig.manager('red')}/root")
    assert [path.name for path in (root / "run/nsvisor/instances").iterdir()] == ["red"]
    assert not (root / "run/netns").exists()
    assert not (root / "run/nsvisor/control.sock").exists()
    assert sorted(path.name for path in (root / "sys/class/net").iterdir() if path.is_symlink()) == ["br0", "lo", "up0"]
    mounts = Path(f"/proc/{rig.manager('red')}/mounts").read_text().splitlines()
    options = next(line.split()[3] for line in mounts if line.split()[1:3] == ["/proc", "proc"])
    assert {"hidepid=invisible", "hidepid=2"} & set(options.split(",")), options


def test_the_bus_of_the_host_is_the_hubs_alone(rig: Rig) -> None:
    """The tables' files are closed to everybody else, and the command socket to all but root."""
    for path, mode in (("bus/tables", 0o700), ("control.sock", 0o600)):
        found = rig.host.path(rig.daemon.run_dir / path).stat()
        assert stat.S_IMODE(found.st_mode) == mode, f"{path}: {found.st_mode:o}"


def test_with_these_rights_it_works(rig: Rig) -> None:
    """Else a manager without any right would pass all of the above."""
    with rig.app("red", "web"):
        page = rig.daemon.cli("run", "blue", "--", "curl", "-sS", "--max-time", "30", f"http://{OUTSIDE}/")
        assert page.stdout.startswith("outside to 192.168.0.2"), page.stdout + page.stderr
