"""The flow log of an instance: what became of its apps' connections, as records on the board."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable

from nsmanager.board import Board
from nsmanager.duty import while_wanted
from nsmanager.flows import drops
from nsmanager.flows.entry import Entry
from nsmanager.flows.records import flow
from nsmanager.flows.table import Due, Flows
from nsmanager.flows.tracked import CT_DELETE, Tracked, listen_for_ends, listen_for_rest
from nsmanager.marks import DROP_BYTES, DROP_GROUP
from nsmanager.namespace import Namespace
from nsmanager.naming import Naming
from nsmanager.netfilter import Listener, Message
from nsmanager.nflog import PacketLog
from nsmanager.place import Place

PACKETS_AT_ONCE = 64  # dropped packets that the kernel collects before it tells
ASKED_IN_A_ROW = 128  # questions to the kernel before events are read
MOST_TURNS = 16  # of reading before what was read elsewhere is taken
TICK = 0.25  # seconds between two looks at what is due
COMPLAINT = 60.0  # seconds between two lines of the log about losses

log = logging.getLogger("nsmanager")


async def log_flows(ns: Namespace, place: Place, board: Board) -> None:  # noqa: ARG001  # a duty's form
    """Put a record of each connection on the board, while the config says so. Runs until cancelled."""

    async def run(_wanted: bool) -> None:
        with (
            contextlib.closing(Tracked()) as tracked,
            listen_for_ends() as ends,
            listen_for_rest() as rest,
            PacketLog(DROP_GROUP, copied=DROP_BYTES, at_once=PACKETS_AT_ONCE) as dropped,
        ):
            watch = _Watch(board, tracked, ends, rest, dropped)
            async with asyncio.TaskGroup() as tasks:
                for each in (watch.follow_ends, watch.follow_rest, watch.follow_drops, watch.keep_time):
                    tasks.create_task(each(), name=f"flows: {each.__name__}")

    await while_wanted("flow log", board, lambda config: config.log.flows or None, run)


class _Watch:
    """The sockets and what is known, while the log is on."""

    def __init__(self, board: Board, tracked: Tracked, ends: Listener, rest: Listener, dropped: PacketLog) -> None:
        self._board = board
        self._tracked, self._ends, self._rest, self._dropped = tracked, ends, rest, dropped
        self._flows = Flows(time.time())
        self._drops = drops.Drops()
        self._complaints = (0, 0, 0)  # losses told so far
        self._complained = 0.0
        self._losses = 0  # of the ends' socket, answered so far
        self._naming = Naming(board)
        self._flows.adopt(tracked.all(), time.monotonic())

    async def follow_ends(self) -> None:
        """Take the ends of connections as the kernel tells them."""
        async for batch in self._ends.batches():
            self._take_ends(batch)

    def _take_ends(self, batch: list[Message]) -> None:
        for _ in range(MOST_TURNS):  # it began before it ended, though that comes by another socket
            self._take(list(self._rest.read()))
            if self._rest.is_empty:
                break
        self._take(batch)

    async def follow_rest(self) -> None:
        """Take beginnings, without which a record is late, and what the kernel deletes after its end."""
        async for batch in self._rest.batches():
            self._take(batch)

    def _take(self, batch: list[Message]) -> None:
        now = time.monotonic()
        for kind, _, body in batch:
            entry = Entry(body)
            if kind == CT_DELETE:
                self._tell(self._flows.deleted(entry, now))
            elif entry.has_ended:
                self._flows.ended(entry, now)
            else:
                self._flows.begun(entry, now)

    async def follow_drops(self) -> None:
        """Take the packets that rules dropped."""
        async for batch in self._dropped.packets():
            now = time.monotonic()
            for packet in batch:
                self._drops.add(packet, now)

    async def keep_time(self) -> None:
        """Ask the kernel about what is due, and tell of drops."""
        while True:
            await asyncio.sleep(TICK)
            due = self._flows.due(time.monotonic())
            for first in range(0, len(due), ASKED_IN_A_ROW):
                self._ask(due[first : first + ASKED_IN_A_ROW])
                await asyncio.sleep(0)
            self._make_good()
            for record in drops.flows(self._drops.take(time.monotonic()), self._naming.residents, self._naming.app):
                self._board.flows.add(record)
            self._complain()

    def _ask(self, due: list[Due]) -> None:
        """Ask the kernel about some, and take its answers after the news from before it gave them."""
        answers = self._tracked.ask_all([one.question for one in due])
        for _ in range(MOST_TURNS):
            self._take_ends(list(self._ends.read()))
            if self._ends.is_empty:
                break
        now = time.monotonic()
        for one, entry in zip(due, answers, strict=True):
            self._tell(self._flows.answered(one, entry, now))

    def _make_good(self) -> None:
        """Look at all connections when news was lost, once what could be read was read."""
        if self._ends.is_empty and self._ends.losses != self._losses:
            self._losses = self._ends.losses
            self._flows.resync(self._tracked.all(), time.monotonic())

    def _tell(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            record = flow(entry, self._naming.residents, self._naming.decision, time.time())
            if record is not None:
                self._board.flows.add(record)

    def _complain(self) -> None:
        """Log what was lost, now and then."""
        losses = (self._ends.losses + self._rest.losses, self._dropped.lost, self._board.flows.lost)
        if losses != self._complaints and time.monotonic() - self._complained > COMPLAINT:
            log.warning("flow log: lost: news of connections %d times, %d dropped packets, %d records", *losses)
            self._complaints, self._complained = losses, time.monotonic()
