"""Sockets of nfnetlink that are told things: messages as they come, and whether some were lost."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Self

from nsmanager.netlink import NETLINK_ADD_MEMBERSHIP, NETLINK_BROADCAST_ERROR, NETLINK_NETFILTER, SOL_NETLINK

RECEIVE_SIZE = 131072  # bytes; nfnetlink_log sends at most that much at once
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
BUFFER = 8 << 20  # bytes; where the kernel grants only the host's net.core.rmem_max, that
TURN = 256  # messages read in a row before others have their turn
REST = 0.01  # seconds between two turns of a flood
HEADER = struct.Struct("=LHHLL")
INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter

Message = tuple[int, int, bytes]  # type, flags and body


class Listener:
    """One socket of nfnetlink, non-blocking, watched by the running loop. A context manager.

    For a reliable one ctnetlink repeats the news of a deletion until there is room for it.
    """

    def __init__(
        self, groups: Sequence[int] = (), program: Sequence[tuple[int, int, int, int]] = (), *, reliable: bool = False
    ) -> None:
        self.losses = 0  # times that the kernel had more to tell than the socket could hold
        self.is_empty = True  # nothing was left after the last look
        self._loop = asyncio.get_running_loop()
        self._readable = asyncio.Event()
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self.socket = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
        self._enlarge()
        if program:
            self._filter(program)
        self.socket.bind((0, 0))
        self.socket.setsockopt(SOL_NETLINK, NETLINK_BROADCAST_ERROR, reliable)
        for group in groups:
            self.socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    def __enter__(self) -> Self:
        self._loop.add_reader(self.socket.fileno(), self._wake)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self.socket.fileno())
        self.socket.close()

    def _wake(self) -> None:
        self._loop.remove_reader(self.socket.fileno())  # until all was read the loop needn't tell again
        self._readable.set()

    def _enlarge(self) -> None:
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        except PermissionError:  # in a user namespace
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)

    def _filter(self, program: Sequence[tuple[int, int, int, int]]) -> None:
        """Have the kernel put only what a program accepts into the socket: see the kernel's networking/filter.rst."""
        import ctypes

        code = ctypes.create_string_buffer(b"".join(INSTRUCTION.pack(*line) for line in program))
        self.socket.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code))
        )

    async def batches(self) -> AsyncIterator[list[Message]]:
        """Yield the messages as they come; of a flood one turn at a time, so that others have theirs."""
        while True:
            await self._readable.wait()
            yield list(self.read())
            if not self.is_empty:
                await asyncio.sleep(REST)

    def read(self) -> Iterator[Message]:
        """Yield what is there, about one turn of it; counts losses."""
        count = 0
        while count < TURN:
            try:
                data = self.socket.recv(RECEIVE_SIZE)
            except BlockingIOError:
                self.is_empty = True
                self._readable.clear()
                self._loop.add_reader(self.socket.fileno(), self._wake)
                return
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise
                self.losses += 1
                continue
            self.is_empty = False
            for message in messages(data):
                count += 1
                yield message


def messages(data: bytes) -> Iterator[Message]:
    """Yield the messages of a datagram."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, _, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        yield kind, flags, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3
