"""What one manager's tasks tell each other: the wanted config, the plan, the status. Each the latest only."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeVar

import msgspec

from nsmanager.item import Item
from nsmanager.vpn.reading import counters
from pubsub.topics import (
    DnsQuery,
    IPFlow,
    LearnedAddress,
    Lease,
    NamespaceConfig,
    NamespaceOutlook,
    NamespaceStatus,
    NetworkInstanceMetrics,
    TunnelStatus,
)

KEPT_RECORDS = 10_000  # of each stream, here while the bus is away, and at the hub for readers that come later

T = TypeVar("T")


class Records(deque[T]):
    """Records on their way to a stream; the oldest are lost where the bus is away for long."""

    def __init__(self) -> None:
        super().__init__(maxlen=KEPT_RECORDS)
        self.lost = 0  # since the manager was born
        self.added = asyncio.Event()

    def add(self, record: T) -> None:
        """Put one at the end."""
        self.lost += len(self) == KEPT_RECORDS
        self.append(record)
        self.added.set()


class Board:
    """Owned by one manager; written and read in its loop only."""

    def __init__(self, wake: asyncio.Event) -> None:
        self.wake = wake  # set when the wanted config changes
        self.config: NamespaceConfig | None = None  # as the bus told last; None: not yet
        self.plan: tuple[Item, ...] = ()  # made of the config
        self.outlook = NamespaceOutlook()  # as the bus told last
        self.status: NamespaceStatus | None = None  # None: nothing was reconciled yet
        self.metrics: NetworkInstanceMetrics | None = None
        self.flows: Records[IPFlow] = Records()
        self.queries: Records[DnsQuery] = Records()
        self.reported = asyncio.Event()  # set from the first status on
        self.changed = asyncio.Event()  # set when the status or the metrics change
        self._leases: tuple[Lease, ...] = ()
        self._learned: tuple[LearnedAddress, ...] = ()
        self._tunnels: tuple[TunnelStatus, ...] = ()
        self._watchers: list[asyncio.Event] = []

    def watch(self) -> asyncio.Event:
        """Return a new event, for one duty, that is set with each new config."""
        self._watchers.append(asyncio.Event())
        return self._watchers[-1]

    def want(self, config: NamespaceConfig) -> None:
        """Take a new config."""
        if config != self.config:
            self.config = config
            self.wake.set()
            for watcher in self._watchers:
                watcher.set()

    def see(self, outlook: NamespaceOutlook) -> None:
        """Take what the world outside is like now."""
        if outlook != self.outlook:
            self.outlook = outlook
            for watcher in self._watchers:
                watcher.set()

    def count(self, metrics: NetworkInstanceMetrics) -> None:
        """Take what was counted."""
        services = (*metrics.services, *counters(self._tunnels))
        self.metrics = msgspec.structs.replace(metrics, services=services) if self._tunnels else metrics
        self.changed.set()

    def report(self, status: NamespaceStatus) -> None:
        """Take the status that a reconciliation found; what duties found is kept."""
        self._set(msgspec.structs.replace(status, leases=self._leases, tunnels=self._tunnels, learned=self._learned))

    def update(self, leases: tuple[Lease, ...]) -> None:
        """Take the leases that are in force."""
        self._leases = leases
        if self.status is not None:
            self._set(msgspec.structs.replace(self.status, leases=leases))

    def learn(self, learned: tuple[LearnedAddress, ...]) -> None:
        """Take the addresses that apps were seen with."""
        self._learned = learned
        if self.status is not None:
            self._set(msgspec.structs.replace(self.status, learned=learned))

    def tell_tunnels(self, tunnels: tuple[TunnelStatus, ...]) -> None:
        """Take what the tunnels are like now."""
        self._tunnels = tunnels
        if self.status is not None:
            self._set(msgspec.structs.replace(self.status, tunnels=tunnels))

    def _set(self, status: NamespaceStatus) -> None:
        if status != self.status:
            self.status = status
            self.reported.set()
            self.changed.set()
