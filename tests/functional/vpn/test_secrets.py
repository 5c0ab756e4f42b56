"""Secrets reach one instance's folder, and nothing else; what is wrong with them is told in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from vici.exception import CommandException

from pubsub.topics import State
from tests.functional.vpn.world import APP, PAGE, SECRET, SECRETS, World
from tests.hosts import wait_until

WRONG = "marmalade-of-keys-9"


@pytest.fixture
def secret(world: World) -> Iterator[Path]:
    """The file of ni4's secret; as it was, and the tunnel up, at the end."""
    world.wait_up("ni4")
    file = Path(SECRETS, "secret")
    yield file
    world.host.put_file(file, f"{SECRET}\n", mode=0o600)
    world.wait_up("ni4")
    assert world.fetch("ni4/web", PAGE) == f"cloud1 to {APP}"


def places(world: World, text: str) -> set[str]:
    """Return all files of nsvisor, and all processes of the host, that hold a text."""
    found = set()
    for folder in (world.daemon.run_dir, world.daemon.state_dir, Path("/run/nsvisor.log"), Path("/etc/nsvisor")):
        root = world.host.path(folder)
        for file in [root, *root.rglob("*")]:
            if file.is_file() and text.encode() in file.read_bytes():
                found.add("/" + str(file).split("/root/", 1)[1])
    for pid in world.host.pids():
        for name in ("cmdline", "environ"):
            try:
                content = Path(f"/proc/{pid}/{name}").read_bytes()
            except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                continue
            if text.encode() in content:
                found.add(f"{name} of {pid}")
    return found


def told(world: World) -> str:
    """Return all that the command tells of the instance."""
    commands = (("describe", "instance", "ni4", "-o", "yaml"), ("get", "instances", "-o", "yaml"), ("logs", "ni4"))
    return "".join(world.daemon.cli(*command).stdout for command in commands)


def test_a_secret_is_in_its_file_and_in_its_instance_only(world: World, secret: Path) -> None:
    copy = f"{world.folder('ni4')}/vpn-cloud.psk"
    assert places(world, SECRET) == {str(secret), copy}
    found = world.host.path(copy).stat()
    assert (found.st_mode & 0o7777, found.st_uid) == (0o600, world.status("ni4").uid_base)
    assert SECRET not in told(world)
    key = world.host.read_file(f"{SECRETS}/edge.key").splitlines()[2]
    assert places(world, key) == {f"{SECRETS}/edge.key", f"{world.folder('ni5')}/vpn-cloud.key"}


def test_a_wrong_secret_is_told_in_words_and_never_itself(world: World, secret: Path) -> None:
    world.host.put_file(secret, f"{WRONG}\n", mode=0o600)
    wait_until(lambda: WRONG in world.host.read_file(f"{world.folder('ni4')}/vpn-cloud.psk"), what="the new secret")

    def refused() -> bool:
        """While charon has the old one, it comes back with that."""
        if world.status("ni4").state == State.READY:
            # There may be none just now.
            with world.clouds["cloud1"].session() as session, contextlib.suppress(CommandException):
                list(session.terminate({"ike": "edge"}))  # runs as it is read
        return "the peer refuses us: it has another secret" in world.status("ni4").reason

    wait_until(refused, what="the refusal in words")
    assert world.status("ni4").state == State.WAITING
    assert places(world, WRONG) == {str(secret), f"{world.folder('ni4')}/vpn-cloud.psk"}
    assert places(world, SECRET) == set()
    assert WRONG not in told(world)


@pytest.mark.parametrize(
    ("break_", "words"),
    [
        ("chmod 640 {}", "others than root may use it (mode 0640); chmod 600"),
        ("chown nobody {}", "chown root"),
        ("rm {}", "there is none; write it, and chmod 600"),
        (": > {}", "it has 0 bytes"),
        ("rm {0}; mkfifo -m 600 {0}", "it is no file"),
    ],
    ids=["mode", "owner", "absent", "empty", "fifo"],
)
def test_a_file_that_cannot_be_used_is_told(world: World, secret: Path, break_: str, words: str) -> None:
    world.host.sh(break_.format(secret))
    world.wait_reason("ni4", f"secret file {secret}: ")
    world.wait_reason("ni4", words)
    assert world.status("ni5").state == State.READY
    world.host.sh(f"rm -f {secret}")
