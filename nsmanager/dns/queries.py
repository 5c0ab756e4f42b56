"""Queries and their answers, put together: packets as they were logged -> DnsQuery, and the answers. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from nsmanager.dns.message import Malformed, Message, code_name, parse, type_name
from nsmanager.dns.segments import Segments
from nsmanager.nflog import Logged
from nsmanager.packets import TCP, Packet, protocol_name
from nsmanager.residents import Address
from pubsub.topics import DnsQuery
from pubsub.values import IpAddress

PORT = 53
PATIENCE = 10.0  # seconds after which a query counts as unanswered
WAITING = 4096  # queries that wait for their answers; of more the oldest counts as unanswered
MOST_ANSWERS = 64  # of one record

Key = tuple[object, ...]


class Asked(msgspec.Struct, frozen=True):
    """A query that waits for its answer."""

    mark: int  # of the packet: by which port of the bridge it came
    source: Address
    protocol: int
    name: str
    type: int
    at: float  # seconds since the epoch


class Answered(msgspec.Struct, frozen=True):
    """A query and what became of it."""

    asked: Asked
    answer: Message | None  # None: nothing
    at: float


class Queries:
    """What is known of an instance's DNS."""

    def __init__(self) -> None:
        self.malformed = 0  # packets to or from port 53 that are no DNS
        self._segments = Segments()
        self._waiting: dict[Key, Asked] = {}  # the oldest first

    def add(self, logged: Logged) -> Iterator[Answered | Message]:
        """Take a packet; yield each answer, and with it, or without one after a while, the query that it belongs to."""
        packet = logged.packet
        if packet is None or PORT not in (packet.source_port, packet.destination_port):
            return
        for raw in self._segments.add(packet) if packet.protocol == TCP else (packet.data,):
            try:
                message = parse(raw)
            except Malformed:
                self.malformed += 1
                continue
            yield from self._take(message, packet, logged)

    def _take(self, message: Message, packet: Packet, logged: Logged) -> Iterator[Answered | Message]:
        question = (packet.protocol, message.id, message.name, message.type)
        if not message.is_answer and packet.destination_port == PORT:
            asked = Asked(logged.mark, packet.source, packet.protocol, message.name, message.type, logged.at)
            key = (*question, packet.source, packet.source_port)
            self._waiting.pop(key, None)  # asked again: one record for both
            self._waiting[key] = asked
            if len(self._waiting) > WAITING:
                yield Answered(self._waiting.pop(next(iter(self._waiting))), None, logged.at)
        elif message.is_answer and packet.source_port == PORT:
            yield message
            found = self._waiting.pop((*question, packet.destination, packet.destination_port), None)
            if found is not None:
                yield Answered(found, message, logged.at)

    def unanswered(self, now: float) -> Iterator[Answered]:
        """Yield the queries that waited long enough; `now` are seconds since the epoch."""
        while self._waiting:
            key = next(iter(self._waiting))
            if self._waiting[key].at > now - PATIENCE:
                return
            yield Answered(self._waiting.pop(key), None, now)


def record(found: Answered, app: str) -> DnsQuery:
    """Return what is told of a query."""
    asked, answer = found.asked, found.answer
    known = DnsQuery(
        app=app,
        source=IpAddress(asked.source),
        protocol=protocol_name(asked.protocol),
        name=asked.name,
        type=type_name(asked.type),
        at=asked.at,
    )
    if answer is None:
        return known
    return DnsQuery(
        **{name: getattr(known, name) for name in known.__struct_fields__[:6]},
        code=code_name(answer.code),
        answers=tuple(str(one.value) for one in answer.answers[:MOST_ANSWERS]),
        ttl=min((one.ttl for one in answer.answers), default=0),
        latency=max(0.0, round((found.at - asked.at) * 1000, 3)),
    )
