"""Runs in a namespace beside who keeps it: does things by hand, and tells what then differs from the plan.

Reads a JSON request a line and answers it by a line: `plan` (pickled items), `plan_host`, `sh`, `diff`, `converge`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nsmanager.item import Item
from nsmanager.items.service import Service
from nsmanager.manager import KINDS
from nsmanager.namespace import Namespace
from nsmanager.reconcile import Change, diff, observe
from pubsub.config.directory import read_directory
from pubsub.config.merge import read_files
from pubsub.topics import SupervisorSettings
from supervisor.host import HostSide
from supervisor.items import HOST_KINDS
from supervisor.ledger import Ledger
from supervisor.plan import Lot, Wanted
from supervisor.records import Records

POLL = 0.02  # seconds between two looks where no event tells


class Inside:
    """One namespace, and what it is to be like."""

    def __init__(self, ns: Namespace) -> None:
        self._ns = ns
        self._items: tuple[Item, ...] = ()
        self._kinds: tuple[type[Item], ...] = tuple(kind for kind in KINDS if kind is not Service)

    async def plan(self, items: str) -> dict[str, Any]:
        """Take over a plan, without services."""
        found: tuple[Item, ...] = pickle.loads(base64.b64decode(items))
        self._items = tuple(item for item in found if not isinstance(item, Service))
        return {}

    async def plan_host(self, config: str, run_dir: str, state_dir: str) -> dict[str, Any]:
        """Plan the host as nsvisord does, from the same files; returns the pickled items."""
        files = read_files(read_directory(Path(config)))
        instances = {name: defined.config for name, defined in files.instances.items()}
        uplinks = {name: defined.config for name, defined in files.uplinks.items()}
        entries = Ledger(Path(state_dir)).entries
        lots = {name: Lot(entries[name].slot, one.subnet) for name, one in instances.items()}
        records = Records(Path(run_dir)).entries
        ports = {
            name: {app: known.port for app, known in record.apps.items() if not known.begun}
            for name, record in records.items()
        }
        lent = {name: tuple(record.lent) for name, record in records.items()}
        side = HostSide(Path(run_dir), self._ns, {})
        await side.plan_anew(
            Wanted(instances, uplinks, files.settings or SupervisorSettings()), lots, [*records], ports, lent
        )
        self._kinds, self._items = HOST_KINDS, side.plan.items
        return {"items": base64.b64encode(pickle.dumps(side.plan.items)).decode()}

    async def sh(self, script: str) -> dict[str, Any]:
        """Run a shell script, each line of which must succeed."""
        argv = ["sh", "-euc", script]
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=False)
        return {"failed": done.stderr or f"exit {done.returncode}" if done.returncode else "", "said": done.stdout}

    async def diff(self) -> dict[str, Any]:
        """Return what somebody who keeps the plan would do, as commands by key."""
        return {"changes": [(change.key, str(change)) for change in await self._diff()]}

    async def _diff(self) -> tuple[Change, ...]:
        return diff(self._items, await observe(self._ns, self._items, self._kinds))

    async def converge(self, within: float) -> dict[str, Any]:
        """Return the seconds until nothing differs, or what still does at the end."""
        began = time.monotonic()
        while True:
            self._ns.events.forget()
            left = await self._diff()
            now = time.monotonic()
            if not left or now > began + within:
                return {"seconds": now - began, "left": [str(change) for change in left]}
            try:
                async with asyncio.timeout(POLL):
                    await self._ns.changed()
            except TimeoutError:
                pass


async def main() -> None:
    async with Namespace() as ns:
        inside = Inside(ns)
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            request = json.loads(line)
            answer = await getattr(inside, request.pop("do"))(**request)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
