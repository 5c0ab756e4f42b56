"""What was taken over can't fall upon the next manager while that is being born."""

# ruff: noqa: ASYNC110, ASYNC222, ASYNC240  # nothing else runs in these loops
from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from supervisor.spawn import Spawner
from tests.attack.conftest import Tally
from tests.functional.spawner.inside import RUN_DIR, STATE_DIR, inside, spawner, uid_base
from tests.hosts import Host, wait_until


async def bear(running: Spawner, entry: str) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = await running.spawn_manager("red", uid_base(0), RUN_DIR, STATE_DIR, writer, entry=entry)
    os.close(writer)
    return pid, reader


async def lie_in_wait() -> tuple[list[str], list[str]]:
    """Return what a lurker gets of a newborn that waits for the supervisor to know of it, and of the finished one."""
    folder = RUN_DIR / "instances" / "red"
    async with spawner("red") as running:
        lurker, reader = await bear(running, "tests.attack.lurker:main")
        assert os.read(reader, 10) == b"idle\n"
        birth = await stop_at_a_birth(running)
        newborn = await asyncio.to_thread(wait_until, lambda: waiting_child(lurker))
        early = await stolen(lurker, newborn, folder)
        os.kill(running.pid, signal.SIGCONT)
        pid, reader = await birth
        assert pid == newborn
        assert os.read(reader, 10) == b"idle\n"
        return early, await stolen(lurker, newborn, folder)


async def stop_at_a_birth(running: Spawner) -> asyncio.Task[tuple[int, int]]:
    """Stop the spawner while it has a manager born; a birth that is over before it is seen is followed by another."""
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    while True:
        birth = asyncio.create_task(bear(running, "tests.attack.payload:idle"))
        while not birth.done() and not children.read_text():
            await asyncio.sleep(0)
        if not birth.done():
            os.kill(running.pid, signal.SIGSTOP)
            return birth
        pid, reader = await birth
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


async def stolen(lurker: int, newborn: int, folder: Path) -> list[str]:
    (folder / "newborn").write_text(str(newborn))
    os.kill(lurker, signal.SIGUSR1)
    found = await asyncio.to_thread(wait_until, (folder / "stolen.json").exists)
    assert found
    text = (folder / "stolen.json").read_text()
    (folder / "stolen.json").unlink()
    return list(json.loads(text))


def waiting_child(lurker: int) -> int:
    """Return the pid of our other child that has a manager's name and sleeps: all is done but to be known."""
    for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        state = Path(f"/proc/{pid}/stat").read_text().split()
        if int(pid) != lurker and state[1] == "(nsm-red)" and state[2] == "S":
            return int(pid)
    return 0


def test_a_newborn_has_nothing_to_steal(host: Host, tally: Tally) -> None:
    tally()
    early, late = inside(host, lie_in_wait)
    assert early == []
    assert late == []
