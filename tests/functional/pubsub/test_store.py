"""What is on disk survives, and what is wrong with it is told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.pubsub.processes import Actor, Hub
from tests.hosts.waiting import wait_until

Start = Callable[..., Actor]


def status(actor: Actor, name: str, field: str, value: object) -> None:
    """Wait until a table's status says so."""
    wait_until(lambda: actor.ask("statuses").get(name, {}).get(field) == value, what=f"{name}: {field} is {value}")


def test_a_persistent_table_survives_a_reboot_and_a_volatile_one_does_not(hub: Hub, actor: Start) -> None:
    first = actor("writer")
    first.ask("publish", initial={"a": "1"}, persistent=True)
    first.ask("publish", scope="red", initial={"a": "1"})
    first.ask("set", key="b", text="2")
    first.ask("flush")
    hub.kill()
    first.kill()
    subprocess.run(["rm", "-r", hub.run_dir], check=True)
    hub.start()
    reader = actor("reader")
    assert reader.ask("table", agent="writer") == {"a": "1", "b": "2"}
    assert reader.ask("table", agent="writer", scope="red") == {}
    status(reader, "writer/Note", "persistent", True)


def test_what_was_flushed_is_on_disk_at_once(hub: Hub, actor: Start) -> None:
    writer = actor("writer")
    writer.ask("publish", persistent=True)
    for number in range(20):
        writer.ask("set", key=str(number % 3), text=str(number))
        writer.ask("flush")
        if number % 7 == 0:
            hub.restart()
            assert actor("reader").ask("table", agent="writer")[str(number % 3)] == str(number)


@pytest.mark.parametrize("damage", ["torn", "garbage after", "garbage"])
def test_a_damaged_file_is_set_aside_told_and_served_as_far_as_it_is_whole(hub: Hub, actor: Start, damage: str) -> None:
    writer = actor("writer")
    writer.ask("publish", initial={"a": "1"}, persistent=True)
    writer.ask("set", key="b", text="2")
    writer.ask("flush")
    writer.close()
    hub.kill()
    path = hub.state_dir / "bus" / "writer+Note.log"
    content = path.read_bytes()
    damaged = {"torn": content[:-3], "garbage after": content + b"\xff" * 99, "garbage": os.urandom(500)}[damage]
    path.write_bytes(damaged)
    hub.start()
    reader = actor("reader")
    expected = {"torn": {"a": "1", "b": "2"}, "garbage after": {"a": "1", "b": "2"}, "garbage": {}}[damage]
    assert reader.ask("table", agent="writer") == expected
    (aside,) = path.parent.glob("*.bad-*")
    assert aside.read_bytes() == damaged
    assert aside.name in hub.log.read_text()
    wait_until(lambda: aside.name in reader.ask("statuses").get("writer/Note", {}).get("problem", ""))
    writer = actor("writer")
    writer.ask("publish", initial={"c": "3"}, persistent=True)
    writer.close()
    hub.restart()
    assert reader.ask("table", agent="writer") == {"c": "3"}


def test_a_table_that_changes_often_does_not_fill_the_disk(hub: Hub, actor: Start) -> None:
    writer = actor("writer")
    writer.ask("publish")
    for number in range(200):
        writer.ask("set", key="a", text=f"{number % 10}", size=4000)
        writer.ask("flush")
    assert sum(path.stat().st_size for path in hub.tables.iterdir()) < 100_000
    hub.restart()
    writer.kill()
    assert actor("reader").ask("table", agent="writer") == {"a": "9" * 4000}


@pytest.fixture
def small_disk(hub: Hub) -> Iterator[Path]:
    """The hub's run directory on a disk of 256 KiB."""
    hub.kill()
    hub.run_dir.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "tmpfs", hub.run_dir], check=True)
    hub.start()
    yield hub.run_dir
    hub.close()
    subprocess.run(["umount", "-l", hub.run_dir], check=True)


def test_a_full_disk_stops_neither_the_hub_nor_a_table(hub: Hub, small_disk: Path, actor: Start) -> None:
    writer, reader = actor("writer"), actor("reader")
    writer.ask("publish", initial={"a": "1"})
    (small_disk / "filler").write_bytes(bytes(150_000))
    writer.ask("set", key="b", text="x", size=200_000)
    writer.ask("flush")
    writer.ask("set", key="a", text="2")
    writer.ask("flush")
    table = {"a": "2", "b": "x" * 200_000}
    assert reader.ask("table", agent="writer") == table
    assert hub.log.read_text().count("going on in memory") == 1
    wait_until(lambda: "not on disk" in reader.ask("statuses").get("writer/Note", {}).get("problem", ""))
    (small_disk / "filler").unlink()
    wait_until(lambda: "is written again" in hub.log.read_text())
    writer.kill()
    hub.restart()
    assert reader.ask("table", agent="writer") == table
