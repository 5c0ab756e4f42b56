"""DNS by TCP: the messages of each connection's both directions, out of segments as they were seen. Pure.

Memory is bounded: of too many connections the oldest is forgotten, and so is one that goes on beyond what can be held.
"""

from __future__ import annotations

from collections.abc import Iterator

from nsmanager.packets import FIN, RST, SYN, Packet

CONNECTIONS = 128  # directions that are followed at a time
HELD = 70_000  # bytes of one direction that wait for what comes before them, or for the rest of their message
EARLY = 64  # segments of one direction that wait for what comes before them
SPACE = 1 << 32  # of sequence numbers
HALF = 1 << 31

Key = tuple[object, ...]


class Segments:
    """The directions that are followed."""

    def __init__(self) -> None:
        self._found: dict[Key, Direction] = {}

    def add(self, packet: Packet) -> Iterator[bytes]:
        """Take a packet; yield the messages that are whole by it."""
        key: Key = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        if packet.flags & SYN:
            self._found.pop(key, None)
            while len(self._found) >= CONNECTIONS:
                del self._found[next(iter(self._found))]
            self._found[key] = Direction((packet.sequence + 1) % SPACE)
            return
        direction = self._found.get(key)
        if direction is None:
            return  # it began before we looked: nobody knows where a message begins
        yield from direction.add(packet.sequence, packet.data)
        if packet.flags & (RST | FIN) or direction.is_lost():
            del self._found[key]


class Direction:
    """One direction of a connection."""

    def __init__(self, expected: int) -> None:
        self._expected = expected  # sequence number of the next byte
        self._early: dict[int, bytes] = {}  # sequence number -> data that came before its turn
        self._data = b""  # not yet a message

    def add(self, sequence: int, data: bytes) -> Iterator[bytes]:
        """Take a segment; yield the messages that are whole by it."""
        if data:
            self._early[sequence] = max(self._early.get(sequence, b""), data, key=len)
        while self._early:
            begin = next((one for one in self._early if _is_due(one, self._expected)), None)
            if begin is None:
                break
            segment = self._early.pop(begin)
            new = segment[(self._expected - begin) % SPACE :]
            self._data += new
            self._expected = (self._expected + len(new)) % SPACE
        while len(self._data) >= 2:
            length = int.from_bytes(self._data[:2], "big")
            if len(self._data) < 2 + length:
                break
            yield self._data[2 : 2 + length]
            self._data = self._data[2 + length :]

    def is_lost(self) -> bool:
        """Tell whether it goes on beyond what can be held."""
        return len(self._early) > EARLY or len(self._data) + sum(map(len, self._early.values())) > HELD


def _is_due(sequence: int, expected: int) -> bool:
    """Tell whether a segment begins with what is expected, or before."""
    return (expected - sequence) % SPACE < HALF
