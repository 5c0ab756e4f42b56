"""What passed: what the managers count, kept for the apps' status; what passed the uplinks, told to everybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import msgspec

import pubsub
from nsmanager.counters import interfaces
from nsmanager.namespace import Namespace
from pubsub.topics import NetworkInstanceMetrics, NetworkMetrics, ResourceUse, RuleCounters
from supervisor.endurance import spared
from supervisor.fullness import Fullness
from supervisor.reports import is_own

INTERVAL = 10.0  # seconds between two looks at the uplinks
PAUSE = 5.0  # seconds: so often the apps' status tells of new counts, however many managers count
KEY = "host"  # the only one of NetworkMetrics


class Metrics:
    """Owned by the supervisor; `changed` is called when counts of rules changed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.rules: dict[str, tuple[RuleCounters, ...]] = {}  # by instance
        self.resources: dict[str, tuple[ResourceUse, ...]] = {}  # likewise
        self._changed = changed
        self._due = asyncio.Event()

    async def follow(self, bus: pubsub.Bus) -> None:
        """Keep what the managers count. Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell())
            async for change in bus.subscribe(NetworkInstanceMetrics, agent="nsmanager", scope="*"):
                if not is_own(change):
                    continue
                match change:
                    case pubsub.Created(key=name, value=found) | pubsub.Modified(key=name, value=found):
                        self._take(name, found)
                    case pubsub.Deleted(key=name):
                        self.rules.pop(name, None)
                        self.resources.pop(name, None)
                    case _:
                        pass

    def _take(self, name: str, found: NetworkInstanceMetrics) -> None:
        self.resources[name] = found.resources
        if self.rules.get(name, ()) != found.rules:
            self.rules[name] = found.rules
            self._due.set()

    async def _tell(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            self._changed()
            await asyncio.sleep(PAUSE)


async def publish_uplinks(bus: pubsub.Bus, ns: Namespace, uplinks: Callable[[], Iterable[str]]) -> None:
    """Tell what passed the uplinks, when anything did. Runs until cancelled."""
    fullness = Fullness()
    table = await bus.publish(NetworkMetrics, initial=await bus.table(NetworkMetrics, agent="supervisor"))
    while True:
        with spared("uplinks' counters"):
            found = NetworkMetrics(at=time.time(), interfaces=interfaces(ns, uplinks()), tables=fullness.look(ns))
            before = table.get(KEY)
            if before is None or msgspec.structs.replace(found, at=before.at) != before:
                table[KEY] = found
        await asyncio.sleep(INTERVAL)
