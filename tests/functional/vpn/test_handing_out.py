"""Root writes secrets into a folder that a manager may write: nothing that lies there leads it astray."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from pubsub.topics import InstanceType, IpsecConnection, NetworkInstanceConfig, VpnConfig
from pubsub.values import Network, PeerAddress
from supervisor.secrets import Secrets, inspect

UID = 0x7FF1_0000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("first")
    path.chmod(0o600)
    return path


def config(source: Path) -> NetworkInstanceConfig:
    connection = IpsecConnection(
        remote=PeerAddress.parse("203.0.113.1"),
        remote_subnets=(Network.parse("192.168.0.0/24"),),
        secret_file=str(source),
        local_id="plant.test",
    )
    return NetworkInstanceConfig(type=InstanceType.VPN, vpn=VpnConfig(connections={"cloud": connection}))


def hand_out(secrets: Secrets, config: NetworkInstanceConfig) -> None:
    secrets.look([config])
    secrets.hand_out({"red": config}, {"red": UID})


def test_a_copy_is_the_instances_alone_and_follows_its_source(tmp_path: Path, source: Path) -> None:
    secrets = Secrets(tmp_path, tmp_path)
    hand_out(secrets, config(source))
    copy = tmp_path / "instances/red/vpn-cloud.psk"
    found = copy.stat()
    assert (copy.read_text(), found.st_mode & 0o7777, found.st_uid, found.st_gid) == ("first", 0o600, UID, UID)
    assert not secrets.changed()
    source.write_text("second")
    assert secrets.changed()
    hand_out(secrets, config(source))
    assert copy.read_text() == "second"
    inode = copy.stat().st_ino
    hand_out(secrets, config(source))
    assert copy.stat().st_ino == inode  # what hasn't changed isn't written


def test_links_of_a_hostile_manager_are_replaced_not_followed(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "instances/red"
    folder.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    for name in ("vpn-cloud.psk", ".vpn-cloud.psk.new"):
        (folder / name).symlink_to(victim)
    secrets = Secrets(tmp_path, tmp_path)
    hand_out(secrets, config(source))
    assert victim.read_text() == "untouched"
    assert victim.stat().st_uid == os.getuid()
    assert (folder / "vpn-cloud.psk").read_text() == "first"
    assert not (folder / "vpn-cloud.psk").is_symlink()


def test_a_folder_that_is_a_link_is_told_and_gets_nothing(tmp_path: Path, source: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "instances").mkdir()
    (tmp_path / "instances/red").symlink_to(elsewhere)
    secrets = Secrets(tmp_path, tmp_path)
    hand_out(secrets, config(source))
    assert [*elsewhere.iterdir()] == []
    assert any("can't be handed" in text for text in secrets.troubles("red"))


def test_what_is_wanted_no_more_is_deleted(tmp_path: Path, source: Path) -> None:
    secrets = Secrets(tmp_path, tmp_path)
    hand_out(secrets, config(source))
    hand_out(secrets, msgspec.structs.replace(config(source), type=InstanceType.LOCAL, vpn=None))
    assert [*(tmp_path / "instances/red").iterdir()] == []


def test_the_version_of_a_file_tells_nothing_of_its_content(source: Path) -> None:
    found = source.stat()
    assert inspect(str(source)).version == f"{found.st_mtime_ns}-{found.st_ino}-{found.st_size}"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("/etc/shadow", "outside of"),
        ("secrets/blue/key", "blue is the folder of another"),
        ("secretskey", "outside of"),
    ],
)
def test_an_instance_gets_nobody_elses_file(tmp_path: Path, source: Path, file: str, words: str) -> None:
    """Who may write an instance's config names a file of root's, or of another instance."""
    folder, path = tmp_path / "secrets", tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_relative_to(tmp_path):
        source.rename(path)
    secrets = Secrets(tmp_path, folder)
    hand_out(secrets, config(path))
    assert words in " ".join(secrets.troubles("red"))
    assert not (tmp_path / "instances/red/vpn-cloud.psk").exists()


def test_an_instances_own_folder_is_its_own(tmp_path: Path, source: Path) -> None:
    path = tmp_path / "red/key"
    path.parent.mkdir()
    source.rename(path)
    secrets = Secrets(tmp_path, tmp_path)
    hand_out(secrets, config(path))
    assert secrets.troubles("red") == ()
    assert (tmp_path / "instances/red/vpn-cloud.psk").read_text() == "first"
