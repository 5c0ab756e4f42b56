"""How full the tables are that all namespaces share, as the host's namespace sees them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from nsmanager.namespace import Namespace
from pubsub.topics import ResourceUse
from supervisor.kernel_tables import CONNECTIONS

log = logging.getLogger(__name__)

NEARLY_FULL = 0.8  # of a table: time to tell
TRACKED = "net.netfilter.nf_conntrack_count"
# Of all namespaces together; there only in the initial one. See the kernel's net/core/neighbour.c.
STATISTICS = {"ipv4": Path("/proc/net/stat/arp_cache"), "ipv6": Path("/proc/net/stat/ndisc_cache")}


class Fullness:
    """Owned by who looks every few seconds; remembers what was told of."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def look(self, ns: Namespace) -> tuple[ResourceUse, ...]:
        """Return how full the tables are, and log it when one is nearly full. Raises OSError."""
        found = tuple(tables(ns))
        nearly = {one.name for one in found if one.limit and one.used > NEARLY_FULL * one.limit}
        for one in found:
            if one.name in nearly - self._told:
                log.warning(
                    "host: %s: %d of %d in the kernel's table for all: nearly full", one.name, one.used, one.limit
                )
        self._told = nearly
        return found


def tables(ns: Namespace) -> Iterator[ResourceUse]:
    """Yield each table that can be seen from here."""
    used, limit = ns.read_sysctl(TRACKED), ns.read_sysctl(CONNECTIONS)
    if used is not None and limit is not None:
        yield ResourceUse(name="connections", used=int(used), limit=int(limit))
    for version, path in STATISTICS.items():
        limit = ns.read_sysctl(f"net.{version}.neigh.default.gc_thresh3")
        if limit is not None and path.exists():
            yield ResourceUse(name=f"neighbours {version}", used=entries(path.read_text()), limit=int(limit))


def entries(text: str) -> int:
    """Return how many entries a table has, of its statistics: a line for each processor, with the same first column."""
    lines = text.splitlines()[1:]
    return int(lines[0].split()[0], 16) if lines else 0
