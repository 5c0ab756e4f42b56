"""A manager's contact with the bus: what it is told, and what it has to say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

import pubsub
from nsmanager.board import KEPT_RECORDS, Board, Records
from nsmanager.namespace import Namespace
from nsmanager.place import Place
from pubsub.attempt import attempt
from pubsub.topics import DnsQuery, IPFlow, NamespaceConfig, NamespaceOutlook, NamespaceStatus, NetworkInstanceMetrics

FIRST_HELLO = 0.02  # seconds until the bus is asked again after it said no; doubled each time
LAST_HELLO = 2.0  # seconds

T = TypeVar("T")
log = logging.getLogger("nsmanager")


async def keep_in_touch(ns: Namespace, place: Place, board: Board) -> None:  # noqa: ARG001  # a duty's form
    """Read the config from the bus and publish the status, through all of the bus's troubles. Runs until cancelled."""
    wait = FIRST_HELLO
    while True:
        try:
            async with pubsub.connect(place.run_dir, agent="nsmanager") as bus:
                await attempt(_converse(bus, place, board))  # what fails there must not reach the bus's farewell
        except* (pubsub.BusError, OSError) as group:
            # The hub learns a moment late that the last manager is gone, and what this uid may.
            if wait >= LAST_HELLO:
                log.warning("bus: %s", "; ".join(str(exc) for exc in group.exceptions))
        await asyncio.sleep(wait)
        wait = min(LAST_HELLO, 2 * wait)


async def _converse(bus: pubsub.Bus, place: Place, board: Board) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_follow(bus, place, NamespaceConfig, board.want), name="follow config")
        tasks.create_task(_follow(bus, place, NamespaceOutlook, board.see), name="follow outlook")
        tasks.create_task(_tell(bus, place, board), name="tell")
        tasks.create_task(_pass_on(bus, place, IPFlow, board.flows), name="flows")
        tasks.create_task(_pass_on(bus, place, DnsQuery, board.queries), name="queries")


async def _follow(bus: pubsub.Bus, place: Place, type_: type[T], take: Callable[[T], None]) -> None:
    """Take what the supervisor tells this manager of one topic."""
    async for change in bus.subscribe(type_, agent="supervisor", scope=place.name):
        match change:
            case pubsub.Created(key=place.name, value=told) | pubsub.Modified(key=place.name, value=told):
                take(told)
            case _:
                pass  # what is withdrawn stays in force: the supervisor ends the manager when it means it


async def _tell(bus: pubsub.Bus, place: Place, board: Board) -> None:
    while board.status is None:  # the first status says what there is: until then the last manager's stands
        await board.changed.wait()
        board.changed.clear()
    table = await bus.publish(NamespaceStatus, scope=place.name, initial={place.name: board.status})
    metrics: pubsub.Table[NetworkInstanceMetrics] | None = None
    while True:
        if board.metrics is not None:
            metrics = metrics or await bus.publish(NetworkInstanceMetrics, scope=place.name)
            metrics[place.name] = board.metrics
        table[place.name] = board.status
        await board.changed.wait()
        board.changed.clear()


async def _pass_on(bus: pubsub.Bus, place: Place, type_: type[T], records: Records[T]) -> None:
    """Append records to their stream as they come; it is opened with the first. Runs until cancelled."""
    await records.added.wait()
    stream = await bus.open_stream(type_, scope=place.name, keep=KEPT_RECORDS)
    while True:
        records.added.clear()
        while records:
            stream.append(records.popleft())
        await records.added.wait()
