"""Speaking with charon by vici, in threads: strongSwan's own library waits for each answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Any, Self

ANSWER_TIMEOUT = 10.0  # seconds; charon's threads can all be busy with packets
EVENTS = ("ike-updown", "child-updown", "ike-rekey", "child-rekey", "log")

Message = Mapping[str, Any]
Hear = Callable[[str, Message], None]


class Refusal(Exception):  # noqa: N818  # reads as what it is
    """Charon says no; the text says why."""


class Conversation:
    """Two sessions: one for questions, one task at a time, and one that hears what happens. A context manager."""

    def __init__(self, path: str, hear: Hear) -> None:
        import vici  # late: tests of the rest need none; a manager has it from the spawner

        self._vici = vici
        self._loop = asyncio.get_running_loop()
        self._hear = hear
        self._turn = asyncio.Lock()
        self._sockets: list[socket.socket] = []
        try:
            self._session = vici.Session(self._connect(path, ANSWER_TIMEOUT))
            self._ears = vici.Session(self._connect(path, None))
        except OSError:
            self._close()
            raise

    def _connect(self, path: str, timeout: float | None) -> socket.socket:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._sockets.append(one)
        one.settimeout(ANSWER_TIMEOUT)
        one.connect(path)
        one.settimeout(timeout)
        return one

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        """End both: a thread that waits for an answer gets an error."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    async def listen(self) -> None:
        """Tell `hear` of each event, in the loop. Runs until cancelled, or until charon is gone: OSError."""
        try:
            await asyncio.to_thread(self._listen)
        except self._vici.exception.SessionException as exc:
            raise ConnectionError(str(exc)) from exc

    def _listen(self) -> None:
        for kind, message in self._ears.listen(EVENTS):
            self._loop.call_soon_threadsafe(self._hear, kind.decode(), message)

    async def ask(self, command: str, message: Message | None = None) -> Message:
        """Have charon do something. Raises Refusal, and OSError when it is gone or doesn't answer."""
        answer: Message = await self._do(lambda: self._session.request(command, message))
        return answer

    async def list(self) -> list[tuple[str, Message]]:
        """Return all IKE associations with their connections' names."""
        found = await self._do(lambda: list(self._session.streamed_request("list-sas", "list-sa")))
        return [(name, association) for one in found for name, association in one.items()]

    async def _do(self, question: Callable[[], Any]) -> Any:
        async with self._turn:
            try:
                return await asyncio.to_thread(question)
            except self._vici.exception.CommandException as exc:
                raise Refusal(str(exc).removeprefix("Command failed: ")) from exc
            except (self._vici.exception.SessionException, self._vici.exception.DeserializationException) as exc:
                raise ConnectionError(str(exc)) from exc
