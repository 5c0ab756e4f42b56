"""The supervisor's tables on the bus: what each manager is to do and may do, and what everybody can read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pubsub
from pubsub.topics import (
    AppNetworkStatus,
    BusGrant,
    DeviceNetworkStatus,
    NamespaceConfig,
    NamespaceStatus,
    NetworkInstanceStatus,
)
from supervisor.plan import InstancePlan


class Publications:
    """All tables of agent `supervisor`; made by `open`."""

    def __init__(
        self,
        bus: pubsub.Bus,
        *,
        grants: pubsub.Table[BusGrant],
        instances: pubsub.Table[NetworkInstanceStatus],
        apps: pubsub.Table[AppNetworkStatus],
        uplinks: pubsub.Table[DeviceNetworkStatus],
    ) -> None:
        self.instances = instances
        self.apps = apps
        self.uplinks = uplinks
        self._bus = bus
        self._grants = grants
        self._last: dict[str, NamespaceConfig] = {}  # what each was told
        self._told: dict[str, pubsub.Table[NamespaceConfig]] = {}  # one table per manager, which reads no other

    @classmethod
    async def open(cls, bus: pubsub.Bus) -> Publications:
        """Claim the tables; what a supervisor before us published stands until it is replaced."""
        return cls(
            bus,
            grants=await bus.publish(BusGrant, initial=await bus.table(BusGrant, agent="supervisor")),
            instances=await bus.publish(
                NetworkInstanceStatus, initial=await bus.table(NetworkInstanceStatus, agent="supervisor")
            ),
            apps=await bus.publish(AppNetworkStatus, initial=await bus.table(AppNetworkStatus, agent="supervisor")),
            uplinks=await bus.publish(
                DeviceNetworkStatus, initial=await bus.table(DeviceNetworkStatus, agent="supervisor")
            ),
        )

    async def tell(self, plans: Mapping[str, InstancePlan]) -> None:
        """Grant each manager its tables, then publish what it is to do; returns when the hub has all of it."""
        grants = {
            str(plan.lot.uid_base): BusGrant(
                publish=(f"nsmanager/{name}/*",), subscribe=(f"supervisor/{name}/NamespaceConfig",)
            )
            for name, plan in plans.items()
        }
        if dict(self._grants) != grants:
            self._grants.replace(grants)
            await self._grants.flush()
        async with asyncio.TaskGroup() as group:
            for name, plan in plans.items():
                if name in self._told:
                    if self._last[name] != plan.config:  # comparing is much cheaper than encoding 256 of them anew
                        self._last[name] = self._told[name][name] = plan.config
                else:
                    group.create_task(self._open_told(name, plan.config))

    async def _open_told(self, name: str, config: NamespaceConfig) -> None:
        self._told[name] = await self._bus.publish(NamespaceConfig, scope=name, initial={name: config})
        self._last[name] = config

    async def forget(self, name: str) -> None:
        """Have the hub forget the tables of an instance that is no more, ours and its manager's."""
        if name in self._told:
            told = self._told.pop(name)
            del self._last[name]
            told.clear()
            await told.flush()
            await told.release()
        await self._bus.forget(NamespaceStatus, agent="nsmanager", scope=name)
