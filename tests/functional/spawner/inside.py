"""Runs a coroutine as a supervisor: in a process of its own, inside a throwaway host."""

from __future__ import annotations

import asyncio
import os
import pickle
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from supervisor import syscalls
from supervisor.spawn import Spawner
from tests.hosts import Host

T = TypeVar("T")
RUN_DIR = Path("/run/nsvisor")
STATE_DIR = Path("/var/lib/nsvisor")
UID_BASE = 0x7000_0000
UIDS = 65536
ENTRIES = "tests.functional.spawner.entries"  # what managers run here, in place of a manager's main


def inside(host: Host, function: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
    """Return what `await function(*args)` returns in a forked process that has entered the host.

    Raises AssertionError with its traceback when it fails.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            enter(host)
            result: tuple[bool, object] = True, asyncio.run(function(*args))
        except BaseException:  # noqa: BLE001  # all must reach the test
            result = False, traceback.format_exc()
        with open(writer, "wb") as pipe:
            pickle.dump(result, pipe)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        good, value = pickle.load(pipe)
    os.waitpid(pid, 0)
    assert good, value
    return value  # type: ignore[no-any-return]


def enter(host: Host) -> None:
    """Move this process into the host: cgroup, mounts, network."""
    host.cgroup.procs.write_text("0")
    for kind, flag in (("net", syscalls.CLONE_NEWNET), ("mnt", syscalls.CLONE_NEWNS)):
        with open(f"/proc/{host.pid}/ns/{kind}") as namespace:
            if kind == "mnt":
                syscalls.unshare(flag)  # whatever else shares our view of the file system keeps it
            syscalls.setns(namespace.fileno(), flag)
    RUN_DIR.mkdir(mode=0o755, exist_ok=True)
    STATE_DIR.mkdir(mode=0o755, exist_ok=True)


@asynccontextmanager
async def spawner(*names: str) -> AsyncIterator[Spawner]:
    """Run a spawner, and make instances with these names and the uid ranges of `uid_base`."""
    running = await Spawner.start()
    try:
        for number, name in enumerate(names):
            await running.make_namespace(name, uid_base(number), UIDS)
        yield running
    finally:
        await running.close()


def uid_base(number: int) -> int:
    return UID_BASE + number * UIDS


async def bear(running: Spawner, name: str, number: int, entry: str) -> tuple[int, int]:
    """Bear a manager that runs `entry`; return its pid and a descriptor from which its output is read."""
    reader, writer = os.pipe()
    pid = await running.spawn_manager(name, uid_base(number), RUN_DIR, STATE_DIR, writer, entry=f"{ENTRIES}:{entry}")
    os.close(writer)
    return pid, reader


async def output(reader: int) -> str:
    """Return all that a manager writes until it ends."""

    def read() -> str:
        with open(reader) as pipe:
            return pipe.read()

    return await asyncio.to_thread(read)
