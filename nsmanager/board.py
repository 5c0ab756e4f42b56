"""What one manager's tasks tell each other: the wanted config, the plan, the status. Each the latest only."""

from __future__ import annotations

import asyncio

import msgspec

from nsmanager.item import Item
from pubsub.topics import Lease, NamespaceConfig, NamespaceStatus


class Board:
    """Owned by one manager; written and read in its loop only."""

    def __init__(self, wake: asyncio.Event) -> None:
        self.wake = wake  # set when the wanted config changes
        self.config: NamespaceConfig | None = None  # as the bus told last; None: not yet
        self.plan: tuple[Item, ...] = ()  # made of the config
        self.status: NamespaceStatus | None = None  # None: nothing was reconciled yet
        self.changed = asyncio.Event()  # set when the status changes
        self._leases: tuple[Lease, ...] = ()

    def want(self, config: NamespaceConfig) -> None:
        """Take a new config."""
        if config != self.config:
            self.config = config
            self.wake.set()

    def report(self, status: NamespaceStatus) -> None:
        """Take the status that a reconciliation found; leases are kept."""
        self._set(msgspec.structs.replace(status, leases=self._leases))

    def update(self, leases: tuple[Lease, ...]) -> None:
        """Take the leases that are in force."""
        self._leases = leases
        if self.status is not None:
            self._set(msgspec.structs.replace(self.status, leases=leases))

    def _set(self, status: NamespaceStatus) -> None:
        if status != self.status:
            self.status = status
            self.changed.set()
