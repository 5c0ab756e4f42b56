"""The metadata server of an instance: tells each app, known by its port of the bridge, what it is."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections import Counter
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from nsmanager.board import Board
from nsmanager.duty import while_wanted
from nsmanager.metadata.caller import Caller, app_named, by_version
from nsmanager.metadata.http import converse
from nsmanager.metadata.pages import Answer, answer
from nsmanager.namespace import Namespace
from nsmanager.naming import Naming
from nsmanager.place import Place
from nsmanager.residents import METADATA, METADATA6
from pubsub.topics import NamespaceConfig

PORT = 80
BACKLOG = 64
APP_LIMIT = 16  # connections of one app at a time
LIMIT = 512  # of all
OUT_OF_FILES = 0.2  # seconds until the next try to accept
IP_FREEBIND, IPV6_FREEBIND = 15, 78  # see ip(7)
SO_MARK = 36

log = logging.getLogger("nsmanager")


async def serve_metadata(ns: Namespace, place: Place, board: Board) -> None:  # noqa: ARG001  # a duty's form
    """Serve on the addresses of the bridge, while there is one. Runs until cancelled."""

    async def run(addresses: tuple[IPv4Address | IPv6Address, ...]) -> None:
        server = _Server(place.name, board)
        with contextlib.ExitStack() as stack:
            listeners = [stack.enter_context(_listen(address)) for address in addresses]
            async with asyncio.TaskGroup() as tasks:
                for listener in listeners:
                    tasks.create_task(server.accept(listener, tasks), name="metadata: accept")

    await while_wanted("metadata", board, served, run)


def served(config: NamespaceConfig) -> tuple[IPv4Address | IPv6Address, ...] | None:
    """Return the addresses on which it is served; None: the instance has none of its own."""
    if config.bridge is None:
        return None
    return (METADATA, METADATA6) if config.bridge6 is not None else (METADATA,)


class _Server:
    """The connections of now."""

    def __init__(self, instance: str, board: Board) -> None:
        self._instance = instance
        self._board = board
        self._naming = Naming(board)
        self._open: Counter[str] = Counter()

    async def accept(self, listener: socket.socket, tasks: asyncio.TaskGroup) -> None:
        """Take connections; who has too many already gets none. Runs until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                conn, end = await loop.sock_accept(listener)
            except OSError as exc:
                if exc.errno in (errno.EBADF, errno.EINVAL):
                    raise
                await asyncio.sleep(OUT_OF_FILES)
                continue
            app = self._app(conn)
            if self._open[app] >= APP_LIMIT or self._open.total() >= LIMIT:
                conn.close()
                continue
            tasks.create_task(self._talk(conn, app, _text(end)), name="metadata: connection")

    def _app(self, conn: socket.socket) -> str:
        """Return whose port the connection came by: the kernel gave it the mark of its first packet."""
        with contextlib.suppress(OSError):
            return self._naming.app(conn.getsockopt(socket.SOL_SOCKET, SO_MARK))
        return ""

    async def _talk(self, conn: socket.socket, app: str, end: str) -> None:
        def respond(method: str, path: str, headers: Mapping[str, str]) -> Answer:
            return answer(method, path, headers, self._caller(app, end))

        self._open[app] += 1
        try:
            with conn:
                await converse(conn, respond)
        except Exception:
            log.exception("metadata")  # our defect: the other connections go on
        finally:
            self._open[app] -= 1
            self._open += Counter()  # forgets who has none

    def _caller(self, app: str, end: str) -> Caller | None:
        board = self._board
        known = app_named(board.config, app) if board.config is not None else None
        if board.config is None or known is None:
            return None
        addresses, addresses6 = by_version(self._naming.residents.addresses(app))
        return Caller(self._instance, board.config, known, board.outlook, addresses, addresses6, end)


def _listen(address: IPv4Address | IPv6Address) -> socket.socket:
    """Return a socket on an address, which may be there later, or come back."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        else:
            made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        made.bind((str(address), PORT))
        made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _text(end: tuple[str, int]) -> str:
    host, port = end[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
