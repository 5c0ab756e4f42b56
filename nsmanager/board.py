"""What one manager's tasks tell each other: the wanted config, the plan, the status. Each the latest only."""

from __future__ import annotations

import asyncio
import time
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
    ServiceCounters,
    TunnelStatus,
)

BURST = 10  # seconds' worth of records that may come at once: a manager that was busy tells late what was no flood
KEPT_RECORDS = 10_000  # of each stream, here while the bus is away, and at the hub for readers that come later

T = TypeVar("T")


class Records(deque[T]):
    """Records on their way to a stream; the oldest are lost where the bus is away for long."""

    def __init__(self) -> None:
        super().__init__(maxlen=KEPT_RECORDS)
        self.lost = 0  # since the manager was born
        self.most = 0  # a second, on the average; 0: any number
        self.taken = self.refused = 0  # since the manager was born
        self.added = asyncio.Event()
        self._spent = 0.0  # of what may come at once
        self._then = 0.0  # monotonic, the last time that one was added

    def add(self, record: T) -> None:
        """Put one at the end, unless there are too many."""
        if self.most:
            now, at_once = time.monotonic(), self.most * BURST
            self._spent = min(max(0.0, self._spent - (now - self._then) * self.most), at_once)
            self._then = now
            if self._spent + 1 > at_once:
                self.refused += 1
                return
            self._spent += 1
        self.taken += 1
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
        self._services: dict[str, ServiceCounters] = {}
        self._leases: tuple[Lease, ...] = ()
        self._learned: tuple[LearnedAddress, ...] = ()
        self._tunnels: dict[str, tuple[TunnelStatus, ...]] = {}  # by who found out: the kind of tunnel
        self._watchers: list[asyncio.Event] = []

    def watch(self) -> asyncio.Event:
        """Return a new event, for one duty, that is set with each new config."""
        self._watchers.append(asyncio.Event())
        return self._watchers[-1]

    def want(self, config: NamespaceConfig) -> None:
        """Take a new config."""
        if config != self.config:
            self.config = config
            self.flows.most = config.limits.flows
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
        """Take what was counted in the namespace; it is told when it, or what services counted, isn't as before."""
        found = msgspec.structs.replace(metrics, services=(*self._services.values(), *counters(self.tunnels())))
        if self.metrics is None or msgspec.structs.replace(found, at=self.metrics.at) != self.metrics:
            self.metrics = found
            self.changed.set()

    def count_service(self, counted: ServiceCounters) -> None:
        """Take what a service counted."""
        self._services[counted.service] = counted

    def report(self, status: NamespaceStatus) -> None:
        """Take the status that a reconciliation found; what duties found is kept."""
        self._set(msgspec.structs.replace(status, leases=self._leases, tunnels=self.tunnels(), learned=self._learned))

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

    def tunnels(self, kind: str = "") -> tuple[TunnelStatus, ...]:
        """Return what the tunnels of a kind, or all, are like."""
        return tuple(one for found, ones in self._tunnels.items() for one in ones if kind in ("", found))

    def tell_tunnels(self, tunnels: tuple[TunnelStatus, ...], kind: str) -> None:
        """Take what the tunnels of a kind are like now."""
        self._tunnels[kind] = tunnels
        if self.status is not None:
            self._set(msgspec.structs.replace(self.status, tunnels=self.tunnels()))

    def _set(self, status: NamespaceStatus) -> None:
        if status != self.status:
            self.status = status
            self.reported.set()
            self.changed.set()
