"""The kernel's tables that all namespaces share: how large they must be, and an instance's share. Pure.

Only the initial namespace can change their size; elsewhere nsvisord takes them as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from nsmanager.items.sysctl import Sysctl
from pubsub.topics import LimitsConfig

CONNECTIONS = "net.netfilter.nf_conntrack_max"
BUCKETS = "net.netfilter.nf_conntrack_buckets"
# Over the second threshold the kernel looks for what it can forget at each new neighbour.
NEIGHBOURS = tuple(f"net.{version}.neigh.default.gc_thresh{n}" for version in ("ipv4", "ipv6") for n in (3, 2))
NAMESPACES = tuple(f"user.max_{kind}_namespaces" for kind in ("net", "user", "mnt", "pid", "uts"))
INOTIFY = "fs.inotify.max_user_instances"
PIDS = "kernel.pid_max"
SIZES = (CONNECTIONS, BUCKETS, *NEIGHBOURS, *NAMESPACES, INOTIFY, PIDS)
OF_THE_FIRST = NEIGHBOURS[0]  # there only in the initial namespace

ENTRY_BYTES = 320  # of a tracked connection; each is tracked twice, inside and on the host
MEMORY_PART = 8  # that part of the memory may be tracked connections
TIMES = 3  # what a share may become: those that live, and those that ended within two minutes, see admission.py
CHAIN = 4  # connections in a bucket of the hash table
OTHERS = 16384  # connections that the host itself may want
LEAST_SHARE = 1024  # connections that an instance has in any case
NEIGHBOURS_OTHERS = 1024
NAMESPACES_OTHERS = 256
NAMESPACES_EACH = 16  # its own, and its apps'
PIDS_OTHERS, PIDS_EACH = 8192, 128
INOTIFY_OTHERS = 64


class Tables(msgspec.Struct, frozen=True):
    """What the tables are like without us."""

    sizes: Mapping[str, int] = msgspec.field(default_factory=dict)  # by sysctl, those that there are
    ours: bool = False  # we may change them
    memory: int = 0  # bytes of the machine; 0: not known

    def at_least(self, limits: Iterable[LimitsConfig]) -> Iterator[Sysctl]:
        """Yield the settings that are too small for instances with these limits; none is ever made smaller."""
        if not self.ours:
            return
        for name, value in self._wanted(tuple(limits)).items():
            if name in self.sizes and self.sizes[name] < value:
                yield Sysctl(name, str(value), least=True)

    def _wanted(self, limits: tuple[LimitsConfig, ...]) -> dict[str, int]:
        count = len(limits)
        most = self.memory // MEMORY_PART // (2 * ENTRY_BYTES) if self.memory else 0
        connections = min(_round(OTHERS + TIMES * sum(one.connections for one in limits)), _round(most + 1) // 2)
        found = {CONNECTIONS: connections, BUCKETS: max(connections, self.sizes.get(CONNECTIONS, 0)) // CHAIN}
        neighbours = _round(NEIGHBOURS_OTHERS + sum(one.neighbours for one in limits))
        found |= {name: neighbours if name.endswith("3") else neighbours // 2 for name in NEIGHBOURS}
        found |= dict.fromkeys(NAMESPACES, _round(NAMESPACES_OTHERS + NAMESPACES_EACH * count))
        return found | {INOTIFY: _round(INOTIFY_OTHERS + 2 * count), PIDS: _round(PIDS_OTHERS + PIDS_EACH * count)}

    def share(self, limits: Iterable[LimitsConfig]) -> int:
        """Return how many connections of one instance the host tracks at most; its limit may be less.

        Where the table doesn't hold what all may want, all have the same share: a power of two, so that another
        instance seldom changes it.
        """
        every = tuple(limits)
        sizes = {**self.sizes, **{item.name: int(item.value) for item in self.at_least(every)}}
        wanted, room = sum(one.connections for one in every), sizes.get(CONNECTIONS, 0) - OTHERS
        if CONNECTIONS not in sizes or room >= TIMES * wanted:
            return max((one.connections for one in every), default=0)
        return max(LEAST_SHARE, _round(room // len(every) + 1) // 2)


def _round(number: int) -> int:
    """Return the next power of two."""
    return 1 << max(0, number - 1).bit_length()
