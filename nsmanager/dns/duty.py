"""The DNS log of an instance, and the time that addresses of names stay in the rules' sets."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Iterable

from nsmanager.board import Board
from nsmanager.dns.hosts import Hosts
from nsmanager.dns.message import Message
from nsmanager.dns.queries import Answered, Queries, record
from nsmanager.duty import while_wanted
from nsmanager.firewall import host_sets
from nsmanager.marks import DNS_GROUP
from nsmanager.namespace import Namespace, NftError
from nsmanager.naming import Naming
from nsmanager.nflog import WHOLE, PacketLog
from nsmanager.place import Place
from nsmanager.services import dnsmasq
from pubsub.topics import NamespaceConfig

PACKETS_AT_ONCE = 32  # that the kernel collects before it tells
TICK = 1.0  # seconds between two looks for queries without an answer
COMPLAINT = 60.0  # seconds between two lines of the log about losses

Wanted = tuple[bool, tuple[tuple[str, tuple[str, str]], ...]]  # whether queries are told, and the sets of names
log = logging.getLogger("nsmanager")


async def log_dns(ns: Namespace, place: Place, board: Board) -> None:  # noqa: ARG001  # a duty's form
    """Put a record of each query on the board, and care for the sets of names, as the config says."""

    async def run(wanted: Wanted) -> None:
        # At once where latencies are told; the sets have time.
        with PacketLog(DNS_GROUP, copied=WHOLE, at_once=1 if wanted[0] else PACKETS_AT_ONCE) as packets:
            watch = _Watch(ns, board, packets, wanted)
            async with asyncio.TaskGroup() as tasks:
                for each in (watch.follow, watch.keep_time, watch.begin_anew):
                    tasks.create_task(each(), name=f"dns log: {each.__name__}")

    await while_wanted("dns log", board, _wanted, run)


def _wanted(config: NamespaceConfig) -> Wanted | None:
    sets = tuple(host_sets(config).items())
    return (config.log.dns, sets) if config.log.dns or sets else None


class _Watch:
    """The socket and what is known, while it is wanted."""

    def __init__(self, ns: Namespace, board: Board, packets: PacketLog, wanted: Wanted) -> None:
        self._ns, self._board, self._packets = ns, board, packets
        self._is_logging, sets = wanted
        self._naming = Naming(board)
        self._queries = Queries()
        self._hosts = Hosts(dict(sets))
        self._complaints = (0, 0, 0)  # losses told so far
        self._complained = 0.0  # monotonic

    async def follow(self) -> None:
        """Take the packets of DNS as the kernel tells them."""
        async for batch in self._packets.packets():
            now = time.monotonic()
            commands: list[str] = []
            for logged in batch:
                for found in self._queries.add(logged):
                    if isinstance(found, Message):
                        commands += self._hosts.commands(found, now)
                    else:
                        self._tell((found,))
            if commands:
                await self._write(commands)

    async def _write(self, commands: list[str]) -> None:
        try:
            await self._ns.nft_change("\n".join(commands) + "\n")
        except NftError as exc:  # the sets go with a config that comes, or aren't there yet
            log.warning("addresses of names keep their shortest time: %s", exc)

    async def keep_time(self) -> None:
        """Tell of queries that nobody answered, and of losses."""
        while True:
            await asyncio.sleep(TICK)
            self._tell(self._queries.unanswered(time.time()))
            losses = (self._packets.lost, self._board.queries.lost, self._queries.malformed)
            if losses != self._complaints and time.monotonic() - self._complained > COMPLAINT:
                log.warning("dns log: lost: %d packets, %d records; not understood: %d messages", *losses)
                self._complaints, self._complained = losses, time.monotonic()

    async def begin_anew(self) -> None:
        """Have dnsmasq forget what it was told while nobody watched: else it would answer and no set be filled."""
        if not self._hosts.sets:
            return
        await self._board.reported.wait()  # then its process is known
        self._ns.children.signal(dnsmasq.NAME, signal.SIGHUP)

    def _tell(self, found: Iterable[Answered]) -> None:
        if not self._is_logging:
            return
        for one in found:
            self._board.queries.add(record(one, self._naming.app(one.asked.mark)))
