"""A client in another language, written from docs/bus.md, follows a table through everything."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.pubsub.processes import Actor, Hub
from tests.hosts.waiting import DEADLINE

Start = Callable[..., Actor]
FOLDER = Path(__file__).with_name("node")
INSTALL_TIMEOUT = 300.0  # seconds for npm to fetch two packages
pytestmark = pytest.mark.timeout(INSTALL_TIMEOUT + 120)


class Client:
    """client.mjs as a process."""

    def __init__(self, hub: Hub, table: str) -> None:
        command: list[str | Path] = ["node", FOLDER / "client.mjs", hub.run_dir / "bus" / "hub.sock", table]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def next(self) -> dict[str, Any]:
        """Wait for the next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the client ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def until(self, event: str) -> list[dict[str, Any]]:
        """Read on to the next line with this event; return all up to it."""
        found = [self.next()]
        while found[-1]["event"] != event:
            found.append(self.next())
        return found

    def close(self) -> None:
        """End it."""
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait(DEADLINE)
        self.process.stdout.close()


@pytest.fixture
def client(hub: Hub) -> Iterator[Client]:
    """A Node client that follows writer/Note. Installs what it needs at the first time."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; the Node client can't run")
    if not (FOLDER / "node_modules" / "zeromq").exists():
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=FOLDER, check=True, timeout=INSTALL_TIMEOUT, stdout=subprocess.DEVNULL)
    made = Client(hub, "writer/Note")
    yield made
    made.close()


def notes(**texts: str) -> dict[str, dict[str, str]]:
    """Write a table as the Node client sees it."""
    return {key: {"text": text} for key, text in texts.items()}


def test_node_gets_snapshot_change_delete_and_every_resync(hub: Hub, actor: Start, client: Client) -> None:
    assert client.next() == {"event": "synchronized", "table": {}}
    writer = actor("writer")
    writer.ask("publish", initial={"a": "1", "b": "2"})
    assert client.until("created")[-1]["key"] == "a"
    assert client.until("created")[-1]["table"] == notes(a="1", b="2")
    writer.ask("set", key="a", text="3")
    assert client.next() == {"event": "modified", "key": "a", "table": notes(a="3", b="2")}
    writer.ask("del", key="b")
    assert client.next() == {"event": "deleted", "key": "b", "table": notes(a="3")}

    hub.kill()
    writer.ask("set", key="c", text="4")
    writer.ask("del", key="a")
    hub.start()
    after = client.until("synchronized")
    while after[-1]["table"] != notes(c="4"):
        after.append(client.next())
    assert {(line["event"], line.get("key")) for line in after} == {
        ("synchronized", None),
        ("created", "c"),
        ("deleted", "a"),
    }

    writer.kill()
    assert client.next()["event"] == "stale"
    writer = actor("writer")
    writer.ask("publish", initial={"d": "5"})
    after = client.until("deleted")
    assert {(line["event"], line.get("key")) for line in after} == {
        ("restarted", None),
        ("created", "d"),
        ("deleted", "c"),
    }
    assert after[-1]["table"] == notes(d="5")


def test_a_late_node_gets_the_whole_table_first(hub: Hub, actor: Start, client: Client) -> None:
    client.until("synchronized")
    actor("writer").ask("publish", initial={str(n): "x" * 1000 for n in range(300)})
    late = Client(hub, "writer/Note")
    try:
        assert len(late.until("synchronized")) == 301
    finally:
        late.close()
