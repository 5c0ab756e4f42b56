"""Our end of the session with the guardian of a command: tells it signals, hears how it ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
from types import FrameType, TracebackType
from typing import Any, Self

import msgpack  # type: ignore[import-untyped,unused-ignore]  # ships no types

from supervisor.cli.terminal import Terminal

# What a shell, a terminal or a service manager sends to a command; the rest keeps its meaning for ourselves.
FORWARDED = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM
)  # fmt: skip
ENDS = ("exit", "signal", "error")
READ_SIZE = 65536


class Session:
    """One command's life as its caller sees it. A context manager: inside, our signals are the command's."""

    def __init__(self, guardian: socket.socket, terminal: Terminal) -> None:
        self._guardian = guardian
        self._terminal = terminal
        self._unpacker = msgpack.Unpacker(max_buffer_size=READ_SIZE)
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._begun = False
        self._early = 0  # a signal from before the command had begun
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (*FORWARDED, signal.SIGWINCH):
            self._old[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._wake)
        os.close(self._waker)

    def run(self) -> dict[str, Any]:
        """Pass everything on until the command has ended; returns the guardian's last message."""
        while True:
            guardian = self._guardian.fileno()
            readable, _, _ = select.select([guardian, self._wake, *self._terminal.sources()], [], [])
            for source in readable:
                ended = None
                if source == guardian:
                    ended = self._hear()
                elif source == self._wake:
                    ended = self._pass_signals()
                else:
                    self._terminal.pump(source)
                if ended is not None:
                    self._terminal.drain()
                    return ended

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        # One byte a signal; a full pipe has thousands waiting already.
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, struct.pack("B", number))

    def _pass_signals(self) -> dict[str, Any] | None:
        """Pass on the signals that came. The second one before the command has begun ends the matter here."""
        for number in os.read(self._wake, READ_SIZE):
            if number == signal.SIGWINCH:
                self._terminal.resize()
                continue
            self._tell(number)  # before it has begun: the guardian gives up, or passes it on to the newborn
            if not self._begun:
                if self._early:
                    return {"signal": number}
                self._early = number
        return None

    def _tell(self, number: int) -> None:
        with contextlib.suppress(OSError):  # the guardian is gone, and its last message waits for us
            self._guardian.sendall(msgpack.packb({"signal": number}))

    def _hear(self) -> dict[str, Any] | None:
        """Read what the guardian says; returns its last message."""
        try:
            data = self._guardian.recv(READ_SIZE)
        except ConnectionResetError:
            data = b""
        if not data and self._early and not self._begun:
            return {"signal": self._early}
        if not data:
            return {"error": "the command was killed together with all that stood over it"}
        self._unpacker.feed(data)
        for message in self._unpacker:
            if "started" in message:
                self._begun = True
                self._terminal.begin()
            if any(end in message for end in ENDS):
                return dict(message)
        return None


def outcome(ended: dict[str, Any]) -> tuple[str, Any]:
    """Return how it ended: `exit` and the code, `signal` and its number, or `error` and the words."""
    return next((end, ended[end]) for end in ENDS if end in ended)
