"""Tells what each instance uses of what it may: processes by the kernel, the bus by the hub, tables by its manager."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import msgspec

import pubsub
from pubsub.topics import BusUse, InstanceResources, LimitsConfig, NetworkInstanceStatus, ResourceUse
from supervisor.containment.holder import Containment
from supervisor.endurance import spared

INTERVAL = 10.0  # seconds between two looks
UNUSED = BusUse()


class Sources(msgspec.Struct, frozen=True):
    """Where what is told comes from."""

    containment: Containment
    instances: Mapping[str, NetworkInstanceStatus]
    inside: Mapping[str, tuple[ResourceUse, ...]]  # by instance, as its manager says
    sent: Mapping[str, BusUse]  # by uid, as the hub says

    def of(self, name: str) -> tuple[ResourceUse, ...]:
        """Return what one instance uses. Of what we count ourselves its manager has nothing to say."""
        status = self.instances[name]
        limits = self.containment.limits(name)
        held = self.containment.use(name, [process.pid for process in status.processes if process.pid])
        ours = (*held, *_bus(self.sent.get(str(status.uid_base), UNUSED), limits))
        known = {one.name for one in ours}
        return (*ours, *(one for one in self.inside.get(name, ()) if one.name not in known))


async def tell(
    bus: pubsub.Bus,
    containment: Containment,
    instances: Mapping[str, NetworkInstanceStatus],
    inside: Mapping[str, tuple[ResourceUse, ...]],
) -> None:
    """Publish what every instance uses, where that changed. Runs until cancelled."""
    sent: dict[str, BusUse] = {}
    sources = Sources(containment, instances, inside, sent)
    table = await bus.publish(InstanceResources, initial=await bus.table(InstanceResources, agent="supervisor"))
    async with asyncio.TaskGroup() as group:
        group.create_task(_follow(bus, sent))
        while True:
            for name in tuple(instances):
                await asyncio.sleep(0)  # 256 of them take a while, in which others want something too
                with spared(f"instance {name}: what it uses"):
                    if name in instances:
                        _put(table, name, containment.held_by, sources.of(name))
            for name in table.keys() - instances.keys():
                del table[name]
            await asyncio.sleep(INTERVAL)


def _put(table: pubsub.Table[InstanceResources], name: str, held_by: str, resources: tuple[ResourceUse, ...]) -> None:
    before = table.get(name)
    if before is None or before.resources != resources:
        table[name] = InstanceResources(at=time.time(), held_by=held_by, resources=resources)


async def _follow(bus: pubsub.Bus, sent: dict[str, BusUse]) -> None:
    async for change in bus.subscribe(BusUse, agent="hub"):
        match change:
            case pubsub.Created(key=uid, value=use) | pubsub.Modified(key=uid, value=use):
                sent[uid] = use
            case pubsub.Deleted(key=uid):
                sent.pop(uid, None)
            case _:
                pass


def _bus(use: BusUse, limits: LimitsConfig) -> tuple[ResourceUse, ...]:
    return (
        ResourceUse(name="bus_messages", used=use.messages, limit=limits.bus_messages, refused=use.dropped),
        ResourceUse(name="bus_bytes", used=use.bytes, limit=int(limits.bus_bytes)),
    )
