"""A manager: keeps one namespace as its config says. Born inside it, it never leaves it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import grp
import logging
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pubsub
from nsmanager.board import Board
from nsmanager.heartbeat import beat
from nsmanager.item import Item
from nsmanager.items.address import Address
from nsmanager.items.link import Link, ports
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.nftables import NftTable
from nsmanager.items.route import Route
from nsmanager.items.service import Service
from nsmanager.items.sysctl import Sysctl
from nsmanager.memory import trim
from nsmanager.names import BRIDGE
from nsmanager.namespace import Namespace
from nsmanager.place import Place
from nsmanager.plan import plan
from nsmanager.reconcile import Report, reconcile
from pubsub.codec import digest
from pubsub.topics import NamespaceConfig, NamespaceStatus, ServiceStatus

KINDS: tuple[type[Item], ...] = (Link, Address, Neighbour, Route, Sysctl, NftTable, Service)
FULL_PASS = 60.0  # seconds between two looks at the kernel when no event tells of a change
FIRST_RETRY = 1.0  # seconds after which what failed is tried again; doubled each time
LAST_RETRY = 30.0  # seconds
FREE_REPAIRS = 5  # passes in a row that changed something, before somebody who undoes all is answered with pauses
LONGEST_PAUSE = 1.0  # seconds; a thing that is undone once more is still back in under two
FIRST_HELLO = 0.02  # seconds until the bus is asked again after it said no; doubled each time
LAST_HELLO = 2.0  # seconds
NOBODY = 65534
PR_SET_CHILD_SUBREAPER = 36  # see prctl(2): a service in the background becomes the manager's child
STOPPED_BY = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("nsmanager")


def main(name: str, run_dir: Path, state_dir: Path) -> None:
    """Be the manager of an instance until SIGTERM; network and services stay as they are."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    os.umask(0o022)  # services that dropped their rights read what the manager writes
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    user, group = account()
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(manage(Place(name, Path(run_dir), Path(state_dir), user, group)))


@cache
def account() -> tuple[str, str]:
    """Return the names that this host has for user and group 65534."""
    return pwd.getpwuid(NOBODY).pw_name, grp.getgrgid(NOBODY).gr_name


async def manage(place: Place) -> None:
    """Follow the config, follow the kernel, keep reconciled, publish the status. Runs until cancelled."""
    task = asyncio.current_task()
    assert task is not None
    for number in STOPPED_BY:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with Namespace(place.run) as ns, asyncio.TaskGroup() as tasks:
        board = Board(ns.events.happened)
        tasks.create_task(beat(ns, place, board), name="heartbeat")
        tasks.create_task(keep_reconciled(ns, place, board), name="reconcile")
        tasks.create_task(keep_in_touch(place, board), name="bus")
        log.info("manager of %s: pid %d", place.name, os.getpid())


async def keep_reconciled(ns: Namespace, place: Place, board: Board) -> None:
    """Make the namespace as the last config says, again after each change. Runs until cancelled."""
    retry = FIRST_RETRY
    told: frozenset[str] = frozenset()
    answered: NamespaceConfig | None = None
    repairs = 0
    while True:
        config = board.config
        wait = FULL_PASS
        if config is not None:
            board.plan = plan(config, place)
            report = await reconcile(ns, board.plan, KINDS)
            told = _log(report, told)
            board.report(status(ns, config, report))
            if report.done:
                trim()
            repairs = repairs + 1 if config is answered and (report.done or report.errors) else 0
            answered = config
            if repairs > FREE_REPAIRS:
                await asyncio.sleep(min(LONGEST_PAUSE, 0.05 * 2.0 ** (repairs - FREE_REPAIRS)))
            retry = min(LAST_RETRY, 2 * retry) if report.errors else FIRST_RETRY
            wait = min(FULL_PASS, retry if report.errors else FULL_PASS, report.retry_in or FULL_PASS)
        if board.config is config:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await ns.changed()


def status(ns: Namespace, config: NamespaceConfig, report: Report) -> NamespaceStatus:
    """Return what a reconciliation found, for the bus."""
    failed = dict((*report.errors, *report.waiting))
    services = tuple(
        ServiceStatus(
            name=key[1],
            pid=ns.children.pid(key[1]),
            restarts=ns.children.restarts(key[1]),
            error=failed.get(key, ""),
        )
        for key in sorted({key for key in (*report.observed, *failed) if key[0] == "service"})
    )
    return NamespaceStatus(
        ready=report.complete,
        config=digest(config),
        waiting=_texts(report.waiting),
        errors=_texts(report.errors),
        services=services,
        ports=ports(ns, BRIDGE),
    )


def _texts(found: Sequence[tuple[tuple[str, ...], str]]) -> tuple[str, ...]:
    """Return each text once: many items may wait for the same link."""
    return tuple(dict.fromkeys(text for _, text in found))


def _log(report: Report, told: frozenset[str]) -> frozenset[str]:
    """Write what was done, and what fails or is missing since this time; return what is known now."""
    for change in report.done:
        log.info("%s", change)
    for text in _texts(report.errors):
        if text not in told:
            log.error("%s", text)
    for text in _texts(report.waiting):
        if text not in told:
            log.warning("waiting: %s", text)
    return frozenset(_texts(report.errors + report.waiting))


async def keep_in_touch(place: Place, board: Board) -> None:
    """Read the config from the bus and publish the status, through all of the bus's troubles. Runs until cancelled."""
    wait = FIRST_HELLO
    while True:
        try:
            async with pubsub.connect(place.run_dir, agent="nsmanager") as bus, asyncio.TaskGroup() as tasks:
                tasks.create_task(_follow(bus, place, board), name="follow")
                tasks.create_task(_tell(bus, place, board), name="tell")
        except* (pubsub.BusError, OSError) as group:
            # The hub learns a moment late that the last manager is gone, and what this uid may.
            if wait >= LAST_HELLO:
                log.warning("bus: %s", "; ".join(str(exc) for exc in group.exceptions))
        await asyncio.sleep(wait)
        wait = min(LAST_HELLO, 2 * wait)


async def _follow(bus: pubsub.Bus, place: Place, board: Board) -> None:
    async for change in bus.subscribe(NamespaceConfig, agent="supervisor", scope=place.name):
        match change:
            case pubsub.Created(key=place.name, value=config) | pubsub.Modified(key=place.name, value=config):
                board.want(config)
            case _:
                pass  # a config that is withdrawn stays in force: the supervisor ends the manager when it means it


async def _tell(bus: pubsub.Bus, place: Place, board: Board) -> None:
    while board.status is None:  # the first status says what there is: until then the last manager's stands
        await board.changed.wait()
        board.changed.clear()
    table = await bus.publish(NamespaceStatus, scope=place.name, initial={place.name: board.status})
    while True:
        await board.changed.wait()
        board.changed.clear()
        table[place.name] = board.status
