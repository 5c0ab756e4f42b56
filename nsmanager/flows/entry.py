"""One tracked connection, as ctnetlink tells of it: see the kernel's nf_conntrack_netlink.c. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from nsmanager.netlink import attribute, attributes, nested

HEADER_SIZE = 4  # bytes of struct nfgenmsg, whose first one is the address family
TUPLE_ORIG, TUPLE_REPLY, PROTOINFO, TIMEOUT, MARK, COUNTERS_ORIG, COUNTERS_REPLY = 1, 2, 4, 7, 8, 9, 10
ID, ZONE, TIMESTAMP = 12, 18, 20
TUPLE_IP, TUPLE_PROTO = 1, 2
V4_SOURCE, V4_TARGET, V6_SOURCE, V6_TARGET = 1, 2, 3, 4
PROTO_NUMBER, PROTO_SOURCE, PROTO_TARGET = 1, 2, 3
PROTOINFO_TCP, PROTOINFO_TCP_STATE = 1, 1
COUNTERS_PACKETS, COUNTERS_BYTES = 1, 2
START, STOP = 1, 2
ENDED = (7, 8)  # enum tcp_conntrack: TIME_WAIT, CLOSE: both ends have closed it, or one has reset it


class Entry:
    """A tracked connection. What nobody asks for is not decoded."""

    __slots__ = ("_family", "_found", "key")

    def __init__(self, message: bytes) -> None:
        self._family = message[0]
        self._found = attributes(message, HEADER_SIZE)
        # The kernel's id has only 32 bits: among 10,000 connections two often have the same one.
        self.key = hash(self.id + self._found.get(TUPLE_ORIG, b""))

    @property
    def id(self) -> bytes:
        """The kernel's number of it, for one that begins where another of the same ends was deleted mostly the same."""
        return self._found.get(ID, b"")

    @property
    def life(self) -> int:
        """Like `key`, but no other one ever has the same. Known from answers and deletions: news hasn't the time."""
        return hash((self.key, attributes(self._found.get(TIMESTAMP, b""), 0).get(START)))

    @property
    def question(self) -> bytes:
        """The body of the request by which the kernel finds it."""
        zone = self._found.get(ZONE)
        body = bytes((self._family, 0, 0, 0)) + nested(TUPLE_ORIG, self._found.get(TUPLE_ORIG, b""))
        return body + (attribute(ZONE, zone) if zone else b"")

    @property
    def has_ended(self) -> bool:
        """Tell whether it is one of TCP that nobody uses any more, though the kernel remembers it for a while."""
        tcp = attributes(self._found.get(PROTOINFO, b""), 0).get(PROTOINFO_TCP, b"")
        return _number(attributes(tcp, 0).get(PROTOINFO_TCP_STATE)) in ENDED

    @property
    def timeout(self) -> int:
        """Seconds until it expires, where no packet comes."""
        return _number(self._found.get(TIMEOUT))

    @property
    def mark(self) -> int:
        return _number(self._found.get(MARK))

    @property
    def zone(self) -> int:
        return _number(self._found.get(ZONE))

    @property
    def times(self) -> tuple[float, float]:
        """Seconds since the epoch of start and end; 0: unknown."""
        found = attributes(self._found.get(TIMESTAMP, b""), 0)
        return _number(found.get(START)) / 1e9, _number(found.get(STOP)) / 1e9

    @property
    def original(self) -> Tuple:
        """The ends as who opened it wrote them."""
        return Tuple(self._found.get(TUPLE_ORIG, b""))

    @property
    def reply(self) -> Tuple:
        """The ends as the answers have them: its source is who was reached in truth."""
        return Tuple(self._found.get(TUPLE_REPLY, b""))

    @property
    def sent(self) -> tuple[int, int]:
        """Packets and bytes by who opened it."""
        return _counters(self._found.get(COUNTERS_ORIG, b""))

    @property
    def received(self) -> tuple[int, int]:
        """Packets and bytes of the answers."""
        return _counters(self._found.get(COUNTERS_REPLY, b""))


class Tuple:
    """The two ends of one direction."""

    __slots__ = ("destination", "destination_port", "protocol", "source", "source_port")

    def __init__(self, encoded: bytes) -> None:
        parts = attributes(encoded, 0)
        ip, proto = attributes(parts.get(TUPLE_IP, b""), 0), attributes(parts.get(TUPLE_PROTO, b""), 0)
        self.source = address(ip.get(V4_SOURCE) or ip.get(V6_SOURCE) or b"")
        self.destination = address(ip.get(V4_TARGET) or ip.get(V6_TARGET) or b"")
        self.protocol = _number(proto.get(PROTO_NUMBER))
        self.source_port = _number(proto.get(PROTO_SOURCE))
        self.destination_port = _number(proto.get(PROTO_TARGET))


def address(raw: bytes) -> IPv4Address | IPv6Address:
    """Return an address of 4 or 16 bytes; 0.0.0.0 for anything else."""
    if len(raw) == 16:
        return IPv6Address(raw)
    return IPv4Address(raw if len(raw) == 4 else 0)


def _counters(encoded: bytes) -> tuple[int, int]:
    found = attributes(encoded, 0)
    return _number(found.get(COUNTERS_PACKETS)), _number(found.get(COUNTERS_BYTES))


def _number(raw: bytes | None) -> int:
    return int.from_bytes(raw, "big") if raw else 0
