"""A manager's contact with the bus comes back, whatever came in between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pubsub
from nsmanager.board import Board
from nsmanager.contact import LAST_HELLO, keep_in_touch
from nsmanager.namespace import Namespace
from nsmanager.place import Place
from pubsub.bus import DENIED_PATIENCE
from pubsub.topics import NamespaceStatus
from tests.functional.pubsub.processes import Hub
from tests.hosts.waiting import DEADLINE

MINE = NamespaceStatus(ready=True, config="mine")
OTHERS = NamespaceStatus(ready=True, config="another's")


def test_a_taken_table_and_then_a_silent_hub(folder: Path) -> None:
    async def run(hub: Hub) -> None:
        board = Board(asyncio.Event())
        board.report(MINE)
        async with Namespace() as ns, asyncio.timeout(DEADLINE):
            async with pubsub.connect(hub.run_dir, agent="nsmanager") as other:
                await other.publish(NamespaceStatus, scope="red", initial={"red": OTHERS})
                contact = asyncio.create_task(keep_in_touch(ns, Place("red", hub.run_dir, folder), board))
                await asyncio.sleep(LAST_HELLO)  # refused some times by now
                os.kill(hub.pid, signal.SIGSTOP)
                await asyncio.sleep(LAST_HELLO + 2 * DENIED_PATIENCE)  # it waits for a welcome, longer than that once
                os.kill(hub.pid, signal.SIGCONT)
            async with pubsub.connect(hub.run_dir, agent="reader") as reader:
                while await reader.table(NamespaceStatus, agent="nsmanager", scope="red") != {"red": MINE}:
                    assert not contact.done()
                    await asyncio.sleep(0.05)
            contact.cancel()
            await asyncio.wait([contact])

    with contextlib.closing(Hub(folder)) as hub:
        asyncio.run(run(hub))
