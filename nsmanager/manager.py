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
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from nsmanager.board import Board
from nsmanager.contact import keep_in_touch
from nsmanager.counters import count
from nsmanager.dns.counters import count_dns
from nsmanager.dns.duty import log_dns
from nsmanager.flows.duty import log_flows
from nsmanager.heartbeat import beat
from nsmanager.item import Item
from nsmanager.items.address import Address
from nsmanager.items.bridge import Bridge
from nsmanager.items.link import Link, idle_ports, ports
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.nftables import NftTable
from nsmanager.items.port_vlans import PortVlans
from nsmanager.items.route import Route
from nsmanager.items.rule import Rule
from nsmanager.items.service import Service
from nsmanager.items.sysctl import Sysctl
from nsmanager.items.wireguard import Wireguard
from nsmanager.learning import learn
from nsmanager.memory import hoard, trim
from nsmanager.metadata.duty import serve_metadata
from nsmanager.names import BRIDGE
from nsmanager.namespace import Namespace
from nsmanager.place import Place
from nsmanager.plan import plan
from nsmanager.reconcile import Report, reconcile
from nsmanager.vpn.duty import keep_tunnels
from nsmanager.vpn.esp import kernel_has_esp
from nsmanager.vpn.handshakes import watch_handshakes
from pubsub.codec import digest
from pubsub.topics import NamespaceConfig, NamespaceStatus, ServiceStatus

# What a manager does beside keeping its namespace reconciled, each until it is cancelled.
DUTIES: tuple[Callable[[Namespace, Place, Board], Coroutine[Any, Any, None]], ...] = (
    beat,
    keep_in_touch,
    keep_tunnels,
    watch_handshakes,
    serve_metadata,
    log_flows,
    log_dns,
    learn,
    count,
    count_dns,
)
KINDS: tuple[type[Item], ...] = (
    Link, Wireguard, Bridge, PortVlans, Address, Neighbour, Route, Rule, Sysctl, NftTable, Service
)  # fmt: skip
FULL_PASS = 60.0  # seconds between two looks at the kernel when no event tells of a change
FIRST_RETRY = 1.0  # seconds after which what failed is tried again; doubled each time
LAST_RETRY = 30.0  # seconds
FREE_REPAIRS = 5  # passes in a row that changed something, before somebody who undoes all is answered with pauses
LONGEST_PAUSE = 1.0  # seconds; a thing that is undone once more is still back in under two
NOBODY = 65534
PR_SET_CHILD_SUBREAPER = 36  # see prctl(2): a service in the background becomes the manager's child
STOPPED_BY = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("nsmanager")


def main(name: str, run_dir: Path, state_dir: Path) -> None:
    """Be the manager of an instance until SIGTERM; network and services stay as they are."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    hoard()
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
        for duty in (keep_reconciled, *DUTIES):
            tasks.create_task(duty(ns, place, board), name=duty.__name__)
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
            esp = place.kernel_esp or bool(config.tunnels and kernel_has_esp())
            if config is not answered or esp is not place.kernel_esp:
                place = msgspec.structs.replace(place, kernel_esp=esp)
                board.plan = plan(config, place)
            report = await reconcile(ns, board.plan, KINDS)
            told = _log(report, told)
            board.report(status(ns, config, report))
            if report.done or answered is None:
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
        idle=idle_ports(ns, BRIDGE),
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
