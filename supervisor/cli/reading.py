"""Reads the bus for a command: soon, or with the reason why not."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

import pubsub
from supervisor.cli.errors import NOT_RUNNING, CliError
from supervisor.cli.kinds import moment
from supervisor.reports import is_own

CONNECT_TIMEOUT = 5.0  # seconds for the hub to say welcome; it takes milliseconds
READ_TIMEOUT = 10.0  # seconds for one table; the largest take a tenth of that

T = TypeVar("T")


class Found(msgspec.Struct, Generic[T], frozen=True):
    """A table as it is now."""

    table: dict[str, T]
    stale_since: float  # seconds since the epoch; 0: its writer lives


@contextlib.asynccontextmanager
async def connected(run_dir: Path) -> AsyncIterator[pubsub.Bus]:
    """Be on the bus as an agent of a moment. Raises CliError when there is no hub."""
    socket = run_dir / "bus" / "hub.sock"
    if not socket.exists():
        raise CliError(f"nsvisord doesn't run for {run_dir}; start it, or name its --run-dir", NOT_RUNNING)
    connecting = pubsub.connect(run_dir, agent=f"cli-{os.getpid()}")
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            bus = await connecting.__aenter__()
    except TimeoutError as exc:
        raise CliError(f"nothing answers at {socket}; is nsvisord running? see `nsvisor doctor`", NOT_RUNNING) from exc
    try:
        yield bus
    finally:
        await connecting.__aexit__(None, None, None)


async def read_table(bus: pubsub.Bus, type_: type[T], agent: str, scope: str = "") -> Found[T]:
    """Read one table, and whether its writer lives."""
    table: dict[str, T] = {}
    stale_since = 0.0
    async with asyncio.timeout(READ_TIMEOUT):
        subscription = bus.subscribe(type_, agent=agent, scope=scope)
        async for change in subscription:
            match change:
                case pubsub.Created(key=key, value=value) | pubsub.Modified(key=key, value=value) if is_own(change):
                    table[key] = value
                case pubsub.Stale(since=since):
                    stale_since = since
                case pubsub.Synchronized():
                    break
        subscription.close()
    return Found(table, stale_since)


def read_now(run_dir: Path, *wanted: tuple[type[Any], str, str]) -> list[Found[Any]]:
    """Read tables (type, agent, scope) in one connection."""

    async def read() -> list[Found[Any]]:
        async with connected(run_dir) as bus:
            return list(await asyncio.gather(*(read_table(bus, *table) for table in wanted)))

    return asyncio.run(read())


def staleness(found: Found[Any], agent: str) -> str:
    """Return a warning about a table whose writer is gone; empty when it lives."""
    if not found.stale_since:
        return ""
    who = "nsvisord" if agent == "supervisor" else f"agent {agent}"
    return f"{who} is away since {moment(found.stale_since)}; this is what it said last"
