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
    NamespaceOutlook,
    NamespaceStatus,
    NetworkInstanceMetrics,
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
        # What each was told, in tables of its own: a manager reads no other's.
        self._last: dict[str, tuple[NamespaceConfig, NamespaceOutlook]] = {}
        self._told: dict[str, tuple[pubsub.Table[NamespaceConfig], pubsub.Table[NamespaceOutlook]]] = {}

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
        """Grant each manager its tables, then publish what it is to do; a new one is also told of the world outside."""
        grants = {
            str(plan.lot.uid_base): BusGrant(
                publish=(f"nsmanager/{name}/*",),
                subscribe=(f"supervisor/{name}/*",),
                messages=plan.config_from.limits.bus_messages,
                bytes=int(plan.config_from.limits.bus_bytes),
            )
            for name, plan in plans.items()
        }
        if dict(self._grants) != grants:
            self._grants.replace(grants)
            await self._grants.flush()
        async with asyncio.TaskGroup() as group:
            for name, plan in plans.items():
                if name not in self._told:
                    group.create_task(self._open_told(name, plan.config, plan.outlook))
                elif self._last[name][0] != plan.config:  # comparing is much cheaper than encoding 256 of them anew
                    self._told[name][0][name] = plan.config
                    self._last[name] = plan.config, self._last[name][1]

    def tell_outlooks(self, plans: Mapping[str, InstancePlan]) -> None:
        """Publish what the world outside is like, when the host is so: who acts on it finds its new way."""
        for name, plan in plans.items():
            if name in self._told and self._last[name][1] != plan.outlook:
                self._told[name][1][name] = plan.outlook
                self._last[name] = self._last[name][0], plan.outlook

    async def _open_told(self, name: str, config: NamespaceConfig, outlook: NamespaceOutlook) -> None:
        self._told[name] = (
            await self._bus.publish(NamespaceConfig, scope=name, initial={name: config}),
            await self._bus.publish(NamespaceOutlook, scope=name, initial={name: outlook}),
        )
        self._last[name] = config, outlook

    async def forget(self, name: str) -> None:
        """Have the hub forget the tables of an instance that is no more, ours and its manager's."""
        if name in self._told:
            del self._last[name]
            for told in self._told.pop(name):
                told.clear()
                await told.flush()
                await told.release()
        for topic in (NamespaceStatus, NetworkInstanceMetrics):
            await self._bus.forget(topic, agent="nsmanager", scope=name)
