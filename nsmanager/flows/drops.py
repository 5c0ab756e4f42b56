"""Dropped packets, put together: those of one rule and the same ends within a second are one record. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nsmanager.nflog import Logged
from nsmanager.packets import Packet, protocol_name
from nsmanager.residents import Residents
from pubsub.topics import Direction, IPFlow, Verdict
from pubsub.values import IpAddress

WINDOW = 1.0  # seconds
LIMIT = 10_000  # records in the making; of more, those of a rule are put together whatever their ends

Key = tuple[object, ...]


class Drops:
    """The records in the making."""

    def __init__(self) -> None:
        self._found: dict[Key, Drop] = {}
        self._since = 0.0  # when the first one was begun; monotonic

    def add(self, logged: Logged, now: float) -> None:
        """Take one packet; `now` is monotonic."""
        packet = logged.packet
        if packet is None:
            return
        if not self._found:
            self._since = now
        key: Key = (
            logged.prefix, packet.protocol, packet.source, packet.source_port, packet.destination,
            packet.destination_port,
        )  # fmt: skip
        if key not in self._found and len(self._found) >= LIMIT:
            key = (logged.prefix,)
        drop = self._found.get(key)
        if drop is None:
            drop = self._found[key] = Drop(logged, packet)
        drop.packets += 1
        drop.bytes += packet.length
        drop.end = max(drop.end, logged.at)

    def take(self, now: float) -> list[Drop]:
        """Return the records when their time is over, else none."""
        if not self._found or now < self._since + WINDOW:
            return []
        found = list(self._found.values())
        self._found = {}
        return found


class Drop:
    """Packets that one rule dropped."""

    __slots__ = ("bytes", "end", "first", "mark", "packets", "prefix", "start")

    def __init__(self, logged: Logged, first: Packet) -> None:
        self.prefix = logged.prefix  # `app/rule`
        self.mark = logged.mark
        self.first = first
        self.start = self.end = logged.at
        self.packets = self.bytes = 0


def flows(drops: list[Drop], residents: Residents, app_of: Callable[[int], str]) -> Iterator[IPFlow]:
    """Yield the records as they are told; `app_of` is the app of a packet's mark."""
    for drop in drops:
        app, _, rule = drop.prefix.partition("/")
        packet = drop.first
        sender = app_of(drop.mark) or residents.app(packet.source)
        direction = Direction.OUT if sender == app else Direction.IN
        yield IPFlow(
            app=app,
            rule=rule,
            verdict=Verdict.DROPPED,
            direction=direction,
            protocol=protocol_name(packet.protocol),
            source=IpAddress(packet.source),
            destination=IpAddress(packet.destination),
            source_port=packet.source_port,
            destination_port=packet.destination_port,
            sent_bytes=drop.bytes,
            sent_packets=drop.packets,
            start=drop.start,
            end=drop.end,
            peer_app=residents.app(packet.destination) if direction is Direction.OUT else sender,
        )
