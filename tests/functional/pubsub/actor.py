"""A client process for tests: reads one JSON object a line (`do` and arguments), writes one answer a line.

python actor.py RUN_DIR AGENT UID
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # ships no types

import pubsub
from pubsub import hub_status
from pubsub.codec import from_plain, to_plain
from pubsub.topics import BusGrant, BusUse, TableStatus
from tests.functional.pubsub.notes import Note

SPAM_BATCH = 1000  # messages in one write
SPAM_LIMIT = 20_000_000  # messages; so many that the hub must have hung up
FLOOD_LIMIT = 8 << 30  # bytes; so many that the hub must have hung up
ZMTP_DEALER = (  # RFC 23: greeting, and the READY command of a DEALER
    b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
    + b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
)  # fmt: skip
READ_TIMEOUT = 60.0  # seconds for the hub to end connections


class Actor:
    """What the process has open."""

    def __init__(self, bus: pubsub.Bus, group: asyncio.TaskGroup) -> None:
        self._bus = bus
        self._group = group
        self._tables: dict[str, pubsub.Table[Note]] = {}
        self._stream: pubsub.Stream[Note] | None = None
        self._grants: pubsub.Table[BusGrant] | None = None
        self._seen: dict[str, dict[str, str]] = {}
        self._events: list[str] = []

    async def do_publish(
        self, scope: str = "", initial: dict[str, str] | None = None, *, persistent: bool = False
    ) -> None:
        notes = {key: Note(text=text) for key, text in (initial or {}).items()}
        self._tables[scope] = await self._bus.publish(Note, scope=scope, initial=notes, persistent=persistent)

    async def do_set(self, key: str, text: str, scope: str = "", size: int = 0) -> None:
        self._tables[scope][key] = Note(text=text * size if size else text)

    async def do_count(self, key: str, first: int, last: int, scope: str = "") -> None:
        """Say each number, at most 500 a second; where the hub is slower some are one message."""
        for number in range(first, last + 1):
            await self.do_set(key, str(number), scope)
            await asyncio.sleep(0.002)

    async def do_del(self, key: str, scope: str = "") -> None:
        self._tables[scope].pop(key, None)

    async def do_replace(self, values: dict[str, str], scope: str = "") -> None:
        self._tables[scope].replace({key: Note(text=text) for key, text in values.items()})

    async def do_flush(self, scope: str = "") -> None:
        await self._tables[scope].flush()

    async def do_release(self, scope: str = "") -> None:
        await self._tables.pop(scope).release()

    async def do_table(self, agent: str, scope: str = "") -> dict[str, str]:
        found = await self._bus.table(Note, agent=agent, scope=scope)
        return {key: note.text for key, note in found.items()}

    async def do_statuses(self) -> dict[str, Any]:
        subscription = pubsub.Subscription(TableStatus, hub_status.NAME, self._bus)
        self._bus.begin(subscription)
        async for change in subscription:
            if isinstance(change, pubsub.Synchronized):
                break
        return {name: to_plain(status) for name, status in subscription.current()}

    async def do_grant(self, grants: dict[str, dict[str, Any]]) -> None:
        found = {uid: from_plain(BusGrant, grant) for uid, grant in grants.items()}
        if self._grants is None:
            self._grants = await self._bus.publish(BusGrant)
        self._grants.replace(found)
        await self._grants.flush()

    async def do_subscribe(self, agent: str, scope: str = "") -> None:
        self._group.create_task(self._follow(self._bus.subscribe(Note, agent=agent, scope=scope)))

    async def do_seen(self) -> dict[str, dict[str, str]]:
        return self._seen

    async def do_events(self) -> list[str]:
        return self._events

    async def do_connect_often(self, path: str, count: int, limit: int) -> int:
        """Open raw connections; return how many stay open, at last less than `limit`."""
        made = [socket.socket(socket.AF_UNIX) for _ in range(count)]
        for connection in made:
            connection.connect(path)
        still_open = count
        deadline = time.monotonic() + READ_TIMEOUT
        while still_open >= limit and time.monotonic() < deadline:
            still_open = sum(map(_is_open, made))
        for connection in made:
            connection.close()
        return still_open

    async def do_knock(self, path: str, count: int) -> int:
        """Come and go so often; return how often the hub's backlog was full."""
        full = 0
        for _ in range(count):
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
                try:
                    connection.connect(path)
                    connection.sendall(ZMTP_DEALER)
                except OSError:
                    full += 1
        return full

    async def do_flood(self, path: str) -> int:
        """Send a message whose last part never comes, until the hub hangs up; return how many bytes it took."""
        connection = _introduced(path)
        part = b"\x03" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20)  # 3: more to come, long
        sent = 0
        with contextlib.closing(connection):
            try:
                while sent < FLOOD_LIMIT:
                    connection.sendall(part)
                    sent += len(part)
            except OSError:
                pass
        return sent

    async def do_spam(self, path: str) -> int:
        """Send small messages as fast as the hub takes them, until it hangs up; return about how many it took."""
        connection = _introduced(path)
        put = msgpack.packb(["put", 1, 1, []])
        many = (b"\x00" + bytes([len(put)]) + put) * SPAM_BATCH
        sent = 0
        with contextlib.closing(connection):
            try:
                while sent < SPAM_LIMIT:
                    connection.sendall(many)
                    sent += SPAM_BATCH
            except OSError:
                pass
        return sent

    async def do_uses(self) -> dict[str, Any]:
        subscription = pubsub.Subscription(BusUse, hub_status.USE_NAME, self._bus)
        self._bus.begin(subscription)
        async for change in subscription:
            if isinstance(change, pubsub.Synchronized):
                break
        return {uid: to_plain(use) for uid, use in subscription.current()}

    async def do_open_stream(self, keep: int) -> None:
        self._stream = await self._bus.open_stream(Note, keep=keep)

    async def do_append(self, texts: list[str]) -> None:
        assert self._stream is not None
        for text in texts:
            self._stream.append(Note(text=text))

    async def _follow(self, subscription: pubsub.Subscription[Note]) -> None:
        """Apply each change to `seen`, which is wrong when one is."""
        async for change in subscription:
            self._events.append(type(change).__name__)
            table = self._seen.setdefault(change.table, {})
            match change:
                case pubsub.Created(key=key, value=value):
                    assert key not in table
                    table[key] = value.text
                case pubsub.Modified(key=key, value=value, old=old):
                    assert table[key] == old.text
                    table[key] = value.text
                case pubsub.Deleted(key=key, old=old):
                    assert table.pop(key) == old.text


def _introduced(path: str) -> socket.socket:
    """Connect as libzmq would; it hangs up on who sends messages before it has read the other's READY."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall(ZMTP_DEALER)
    while (words := connection.recv(4096)) and b"READY" not in words:
        pass
    return connection


def _is_open(connection: socket.socket) -> bool:
    try:
        while connection.recv(4096, socket.MSG_DONTWAIT):
            pass
        return False
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


async def main(run_dir: Path, agent: str) -> None:
    """Do what the input says until it ends."""
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with pubsub.connect(run_dir, agent) as bus, asyncio.TaskGroup() as group:
        actor = Actor(bus, group)
        while line := await reader.readline():
            print(json.dumps(await answer(actor, json.loads(line))), flush=True)
        raise Ended


class Ended(Exception):  # noqa: N818  # no error
    """The input is at its end; ends the tasks too."""


async def answer(actor: Actor, question: dict[str, Any]) -> dict[str, Any]:
    """Do one thing."""
    try:
        return {"answer": await getattr(actor, "do_" + question.pop("do"))(**question)}
    except pubsub.BusError as exc:
        return {"error": type(exc).__name__, "text": str(exc)}


if __name__ == "__main__":
    uid = int(sys.argv[3])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)  # after the imports: the interpreter's folders may be closed to others
    try:
        with contextlib.suppress(BaseExceptionGroup):
            asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
    except pubsub.Denied as exc:
        print(json.dumps({"error": "Denied", "text": str(exc)}), flush=True)
