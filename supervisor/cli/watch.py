"""`nsvisor watch`: a table of the bus, and then each change."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.errors import NOT_FOUND, CliError
from supervisor.cli.options import Folders, with_folders, with_output
from supervisor.cli.output import render_object

if TYPE_CHECKING:
    import pubsub


@click.command("watch")
@click.argument("table")
@click.option("--for", "seconds", type=float, default=0.0, help="Stop after so many seconds; default: never.")
@with_output
@with_folders
def watch_command(table: str, seconds: float, output: str, folders: Folders) -> None:
    """Print a TABLE of the bus, then every change to it, until interrupted.

    TABLE is a name as `nsvisor get tables` prints it (supervisor/NetworkInstanceStatus), or instances, apps, uplinks
    or tables. With -o json each change is one line.
    """
    found = resolve(table)
    with contextlib.suppress(TimeoutError, KeyboardInterrupt):
        asyncio.run(_watch(folders, found, output, seconds or None))


def resolve(table: str) -> tuple[str, str, type[Any]]:
    """Return agent, scope and message class of a table's name. Raises CliError."""
    from pubsub import topics
    from supervisor.cli.kinds import BY_ANY_NAME

    if table in BY_ANY_NAME:
        kind = BY_ANY_NAME[table]
        return kind.agent, kind.scope, kind.topic
    agent, _, rest = table.partition("/")
    scope, _, topic = rest.rpartition("/")
    type_ = getattr(topics, topic, None)
    if not agent or not isinstance(type_, type) or not issubclass(type_, topics.Message):
        raise CliError(f"no table {table!r}; see `nsvisor get tables`", NOT_FOUND)
    return agent, scope, type_


async def _watch(folders: Folders, table: tuple[str, str, type[Any]], output: str, seconds: float | None) -> None:
    from supervisor.cli.reading import connected

    agent, scope, type_ = table
    async with asyncio.timeout(seconds), connected(folders.run) as bus:
        async for change in bus.subscribe(type_, agent=agent, scope=scope):
            print(render(change, output), flush=True)


def render(change: pubsub.Change[Any], output: str) -> str:
    """Return one change: as a line for people, the key, or data."""
    from pubsub.codec import to_plain

    event = type(change).__name__.lower()
    key = getattr(change, "key", "")
    parts = {
        name: to_plain(getattr(change, name)) for name in ("value", "old", "count", "since") if hasattr(change, name)
    }
    whole = {"event": event, "table": change.table, "key": key, **parts}
    if output == "json":
        return json.dumps(whole, ensure_ascii=False)
    if output == "yaml":
        return "---\n" + render_object(whole, "yaml")
    if output == "name":
        return key or event
    words = [event, key or change.table, *(str(parts[name]) for name in ("count", "since") if name in parts)]
    if "value" in parts:
        told = parts["value"] if output == "wide" else difference(parts["value"], parts.get("old") or {})
        words.append(json.dumps(told, ensure_ascii=False))
    return " ".join(words)


def difference(value: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are new; of a list only its new items; of a first value what isn't empty."""
    found: dict[str, Any] = {}
    for name, part in value.items():
        before = old.get(name)
        if part == before or (not old and part in ("", None, [], {}, 0)):
            continue
        if isinstance(part, list) and isinstance(before, list):
            found[name] = [item for item in part if item not in before]
        else:
            found[name] = part
    return found
