"""The supervisor's door to the spawner."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from nsmanager.memory import KEPT
from pubsub import codec
from supervisor import syscalls
from supervisor.containment import Hold
from supervisor.orders import (
    COMMAND_LIMIT,
    MANAGER_ENTRY,
    Answer,
    Exec,
    NewGuardian,
    NewManager,
    NewNamespace,
    Request,
    RunApp,
)

INHERITED: Final = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONDEVMODE")  # of the environment; managers see it
# What a manager frees goes back to the kernel: measured, 1.6 MB of 10 less for each (mallopt(3))
MALLOC: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(KEPT),
    "MALLOC_TOP_PAD_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(KEPT),
}
UNHELD: Final = Hold("", ())  # by what all managers have
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SpawnerGone(RuntimeError):  # noqa: N818  # a state more than an error
    """The spawner died: start another. What it bore lives on, what it was asked for may or may not have come to be."""


class SpawnError(RuntimeError):
    """A birth failed, and nothing is left of it; the text says why."""


class Spawner:
    """A running spawner. All methods may be used at the same time; births overlap."""

    def __init__(self, process: subprocess.Popen[bytes], orders: socket.socket) -> None:
        self.pid = process.pid
        self.pidfd = os.pidfd_open(process.pid)
        self._process = process
        self._orders = orders
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = 0
        self._gone = False
        self._sending = asyncio.Lock()
        self._loop.add_reader(orders, self._receive)

    @classmethod
    async def start(cls) -> Self:
        """Start a spawner; it answers as soon as it has imported everything. Makes the caller a child subreaper."""
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        command = [sys.executable, "-P", "-m", "supervisor.spawner", "--fd", str(theirs.fileno())]
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220  # a vfork: a millisecond
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=_environment()
            )
        return cls(process, ours)

    async def make_namespace(self, name: str, uid_base: int, uid_count: int) -> int:
        """Make a network namespace with a user namespace of its own, pinned by name. Returns its inode.

        Raises FileExistsError when something has that name already.
        """
        return (await self._ask(NewNamespace(name=name, uid_base=uid_base, uid_count=uid_count))).inode

    async def spawn_manager(
        self,
        name: str,
        uid_base: int,
        run_dir: Path,
        state_dir: Path,
        log_fd: int,
        *,
        hold: Hold = UNHELD,
        entry: str = MANAGER_ENTRY,
    ) -> int:
        """Bear a manager in its pinned namespace, new or found. Returns its pid; it is the caller's child."""
        order = NewManager(
            name=name,
            uid_base=uid_base,
            run_dir=_real(run_dir),
            state_dir=_real(state_dir),
            group=hold.group,
            rlimits=hold.rlimits,
            entry=entry,
        )
        return (await self._ask(order, [log_fd])).pid

    async def run_app(self, order: RunApp, fds: Sequence[int]) -> int:
        """Bear the guardian of a command in fresh namespaces. Returns its pid; it waits there for its `eth0`.

        `fds` are stdin, stdout, stderr and the session.
        """
        return await self._guard(order, fds)

    async def exec(self, order: Exec, fds: Sequence[int]) -> int:
        """Bear the guardian of a command inside an instance's namespace. Returns its pid. `fds` as of `run_app`."""
        return await self._guard(order, fds)

    async def _guard(self, order: RunApp | Exec, fds: Sequence[int]) -> int:
        data = codec.encode(order)
        if len(data) > COMMAND_LIMIT:
            raise SpawnError(f"arguments and environment are {len(data)} bytes, more than {COMMAND_LIMIT}")
        file = os.memfd_create("command")
        try:
            os.pwrite(file, data, 0)
            answer = await self._ask(NewGuardian(app=isinstance(order, RunApp)), [*fds, file])
        finally:
            os.close(file)
        return answer.pid

    async def close(self) -> None:
        """End the spawner, and wait until it is gone. What it bore lives on."""
        self._lose()
        self._orders.close()
        readable = asyncio.Event()
        self._loop.add_reader(self.pidfd, readable.set)
        try:
            await readable.wait()
        finally:
            self._loop.remove_reader(self.pidfd)
        self._process.wait()
        os.close(self.pidfd)

    async def _ask(self, order: NewNamespace | NewManager | NewGuardian, fds: Sequence[int] = ()) -> Answer:
        self._numbers += 1
        number = self._numbers
        data = codec.encode(Request(number, order))
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._answers[number] = future
        try:
            await self._send(data, fds)
            answer = await future
        finally:
            self._answers.pop(number, None)
        if answer.error:
            raise OSError(answer.errno, answer.error) if answer.errno else SpawnError(answer.error)
        return answer

    async def _send(self, data: bytes, fds: Sequence[int]) -> None:
        async with self._sending:
            while not self._gone:
                try:
                    socket.send_fds(self._orders, [data], list(fds))
                    return
                except BlockingIOError:
                    await self._writable()
                except OSError:
                    self._lose()
        raise SpawnerGone("the spawner is gone")

    async def _writable(self) -> None:
        event = asyncio.Event()
        self._loop.add_writer(self._orders, event.set)
        try:
            await event.wait()
        finally:
            self._loop.remove_writer(self._orders)

    def _receive(self) -> None:
        try:
            data = self._orders.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        answer = codec.decode(Answer, data)
        future = self._answers.get(answer.number)
        if future and not future.done():
            future.set_result(answer)
        elif answer.pid:  # whoever asked was cancelled: nobody will care for it
            with contextlib.suppress(ProcessLookupError):
                os.kill(answer.pid, signal.SIGKILL)

    def _lose(self) -> None:
        if not self._gone:
            self._gone = True
            self._loop.remove_reader(self._orders)
        for future in self._answers.values():
            if not future.done():
                future.set_exception(SpawnerGone("the spawner is gone"))


def _real(folder: Path) -> str:
    return str(folder.resolve())  # the managers' root has none of the links on the way


def _environment() -> dict[str, str]:
    """Return what the spawner, and so every manager, has as environment: nothing secret, and this very code."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    kept.setdefault("PATH", DEFAULT_PATH)
    code = str(Path(__file__).resolve().parent.parent)
    kept.update(MALLOC)
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (code, kept.get("PYTHONPATH"))))
    return kept
