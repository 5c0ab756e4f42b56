"""A manager that is fully taken over reaches nothing outside its instance."""

# ruff: noqa: ASYNC221, ASYNC222  # nothing else runs in these loops
from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from supervisor import syscalls
from supervisor.cli.diagnosis.host import PROBES, _probe
from supervisor.spawn import Spawner
from tests.attack import attacks
from tests.attack.attacks import ATTACKS, Attack, Target
from tests.attack.conftest import Tally
from tests.attack.payload import attempt
from tests.functional.spawner.inside import RUN_DIR, STATE_DIR, inside, spawner, uid_base
from tests.hosts import Host

PAYLOAD = "tests.attack.payload"
KEYCTL_JOIN_SESSION_KEYRING = 1


class Outcome(NamedTuple):
    """How one attack went."""

    host: tuple[int, str] | None  # with the host's rights; None: not tried
    manager: tuple[int, str]
    damage: str  # what was not as before after the manager's try


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, Outcome]]:
    """All attacks, tried one by one in one throwaway host with the instances red (taken over) and blue."""
    with Host() as host:
        yield inside(host, attack_all)


async def attack_all() -> dict[str, Outcome]:
    lay_bait()
    with sockets():
        async with spawner("red", "blue") as running:
            subprocess.run(["ip", "link", "add", "v-red", "type", "veth", "peer", "up0", "netns", "red"], check=True)
            subprocess.run(["ip", "-n", "red", "link", "show", "up0"], check=True, capture_output=True)
            reader, writer = os.pipe()
            other = await running.spawn_manager(
                "blue", uid_base(1), RUN_DIR, STATE_DIR, writer, entry=f"{PAYLOAD}:idle"
            )
            assert os.read(reader, 10) == b"idle\n"
            lay_bait()
            found = {}
            for name, one in ATTACKS.items():
                found[name] = await attack_once(running, other, name, one)
            return found


async def attack_once(running: Spawner, other: int, name: str, one: Attack) -> Outcome:
    with victim(other) as target:
        before = landscape(target)
        manager = await as_manager(running, name, one, target)
        after = landscape(target)
        damage = "" if before == after else f"{before} became {after}"
        clean()
    if not one.possible:
        return Outcome(None, manager, damage)
    with victim(other) as target:
        host = as_host(name, one, target)
        clean()
    return Outcome(host, manager, damage)


async def as_manager(running: Spawner, name: str, one: Attack, target: Target) -> tuple[int, str]:
    folder = RUN_DIR / "instances" / "red"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attack.json").write_text(json.dumps({"attack": name, "target": dataclasses.asdict(target)}))
    with leak(one, target) as log:
        pid = await running.spawn_manager("red", uid_base(0), RUN_DIR, STATE_DIR, log, entry=f"{PAYLOAD}:main")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"{name}: the attacker ended with {status}"
    number, text = json.loads((folder / "outcome.json").read_text())
    (folder / "outcome.json").unlink()
    return number, text


def as_host(name: str, one: Attack, target: Target) -> tuple[int, str]:
    """Try it as a root process of the host, where needed inside the instance's network namespace."""
    reader, writer = os.pipe()
    with leak(one, target) as leaked:
        pid = os.fork()
        if pid == 0:
            try:
                if one.inside:
                    with open("/run/netns/red") as namespace:
                        syscalls.setns(namespace.fileno(), syscalls.CLONE_NEWNET)
                syscalls.unshare(syscalls.CLONE_NEWNS)  # what it does to mounts stays with it
                outcome = attempt(name, dataclasses.replace(target, leaked=leaked))
                os.write(writer, json.dumps(outcome).encode())
            finally:
                os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    number, words = json.loads(text) if text else (-1, "it died")
    return number, words


@contextlib.contextmanager
def victim(other: int) -> Iterator[Target]:
    """Make a process of the host that may be killed."""
    process = subprocess.Popen(["sleep", "1000"])
    try:
        yield Target(process.pid, os.getpid(), other, str(RUN_DIR), str(STATE_DIR))
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def leak(one: Attack, target: Target) -> Iterator[int]:
    """Open what a manager gets as its log: a namespace, as if a bug had let it through, or the real thing."""
    kind, _, whose = one.leak.partition(" ")
    paths = {"host": f"/proc/{target.victim}/ns/{kind}", "blue": f"/proc/{target.other}/ns/{kind}", "": "/dev/null"}
    fd = os.open(paths[whose], os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def landscape(target: Target) -> dict[str, object]:
    """Return what no attack may change."""
    return {
        "alive": [Path(f"/proc/{pid}/stat").read_text().split()[2] in "RSD" for pid in (target.victim, target.other)],
        "host": sorted(link.name for link in Path("/sys/class/net").iterdir()),
        "blue": subprocess.run(["ip", "-n", "blue", "-br", "link"], capture_output=True, text=True, check=True).stdout,
        "mounts": Path("/proc/self/mounts").read_text(),
    }


def clean() -> None:
    for where in ((), ("-n", "red"), ("-n", "blue")):
        subprocess.run(["ip", *where, "link", "del", "atk0"], check=False, capture_output=True)


def lay_bait() -> None:
    """Put the secrets where an installation has them, readable by the host's root only."""
    for path in attacks.SECRETS.values():
        file = Path(path.format(run=RUN_DIR, state=STATE_DIR))
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("secret")
            file.chmod(0o644)  # even so; only the folder of the tables relies on its mode, as the hub makes it
    Path(RUN_DIR, "bus/tables").chmod(0o700)
    libc = attacks.libc
    attacks.check(libc.syscall(attacks.SYS_KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, None))
    attacks.check(libc.syscall(attacks.SYS_ADD_KEY, b"user", b"nsvisor-attack", b"secret", 6, attacks.SESSION_KEYRING))


@contextlib.contextmanager
def sockets() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        Path(RUN_DIR, "instances/blue").mkdir(parents=True, exist_ok=True)
        for address in (f"{RUN_DIR}/control.sock", f"{RUN_DIR}/instances/blue/charon.vici", "\0nsvisor-attack"):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            sock.bind(address)
            sock.listen(100)
        yield


@pytest.mark.parametrize("name", ATTACKS)
def test_a_manager_is_refused(outcomes: dict[str, Outcome], name: str, tally: Tally) -> None:
    tally()
    one, outcome = ATTACKS[name], outcomes[name]
    number, text = outcome.manager
    if not number and name.startswith("veth_into") and _probe(PROBES["guarded peers"]):
        pytest.skip("this kernel lets anybody do it (CVE-2026-31692); `nsvisor doctor` says so")
    assert number in one.errors, f"{text}; expected one of {[errno.errorcode[known] for known in one.errors]}"
    assert not outcome.damage


@pytest.mark.parametrize("name", [name for name, one in ATTACKS.items() if one.possible])
def test_the_same_works_with_the_hosts_rights(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name].host
    if outcome and outcome[0] == errno.ENOSYS:
        pytest.skip("this kernel has no such system call at all")
    assert outcome == (0, "it worked")
