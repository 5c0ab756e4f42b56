"""What an instance uses of the tables that all instances share, against its limits."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from nsmanager.board import Board
from nsmanager.firewall.limits import ASKED, SENT, refused_counter
from nsmanager.items.neighbour import NDMSG, NUD_PERMANENT, RTM_GETNEIGH
from nsmanager.namespace import Namespace
from nsmanager.place import Place
from pubsub.topics import NamespaceConfig, ResourceUse

FAMILIES = (socket.AF_INET, socket.AF_INET6)
NUD_NOARP = 0x40  # of multicast and the like: these don't count for the kernel either


class Resources:
    """Owned by the duty that counts; remembers what was counted at the last look."""

    def __init__(self, ns: Namespace, place: Place, board: Board) -> None:
        self._ns, self._place, self._board = ns, place, board
        self._before: tuple[float, dict[str, int]] = 0.0, {}  # when; what was counted so far

    def look(
        self, config: NamespaceConfig, counted: Mapping[str, tuple[int, int]], connections: int, now: float
    ) -> tuple[ResourceUse, ...]:
        """Return all uses; `counted` are nft's counters, `now` is monotonic. Raises OSError."""
        records = self._board.flows
        so_far = {"queries": _packets(counted, ASKED), "broadcasts": _packets(counted, SENT), "flows": records.taken}
        used = {"connections": connections, "neighbours": _neighbours(self._ns), **self._rates(so_far, now)}
        names = ["connections", "neighbours", "broadcasts"]
        if config.bridge is not None:
            used["leases"] = _leases(self._place.leases)
            names += ["leases", "queries"]
        if config.log.flows:
            names.append("flows")
        return tuple(
            ResourceUse(
                name=name,
                used=used[name],
                limit=getattr(config.limits, name),
                refused=records.refused if name == "flows" else _packets(counted, refused_counter(name)),
            )
            for name in names
        )

    def _rates(self, so_far: dict[str, int], now: float) -> dict[str, int]:
        """Return what was counted a second since the last look."""
        (then, before), self._before = self._before, (now, so_far)
        seconds = max(now - then, 1.0)
        return {name: max(0, round((count - before.get(name, count)) / seconds)) for name, count in so_far.items()}


def _packets(counted: Mapping[str, tuple[int, int]], counter: str) -> int:
    """Return the packets of a counter; 0 while there is none."""
    return counted.get(counter, (0, 0))[0]


def _neighbours(ns: Namespace) -> int:
    """Return how many neighbours the kernel keeps in this namespace, of the version of IP that has more."""
    return max(sum(map(_counts, ns.rtnl.dump(RTM_GETNEIGH, NDMSG.pack(family, 0, 0, 0, 0)))) for family in FAMILIES)


def _counts(message: bytes) -> bool:
    state: int = NDMSG.unpack_from(message)[2]
    return not state & (NUD_PERMANENT | NUD_NOARP)


def _leases(path: Path) -> int:
    """Return how many leases a lease file holds, of both versions of IP; see dnsmasq's src/lease.c."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return 0
    return sum(line.partition(" ")[0].isdecimal() for line in text.splitlines())
