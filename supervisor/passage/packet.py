"""A packet that isn't sent, and the steps of its way."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import msgspec

IpAddress = IPv4Address | IPv6Address
CLIENT_PORT = 49152  # the source port: the first of the dynamic ones, RFC 6335
ECHO = {4: "icmp", 6: "ipv6-icmp"}  # what it is when no port is given


class Packet(msgspec.Struct, frozen=True):
    """The first packet of a new connection, or of an answer, where it is now."""

    source: IpAddress
    destination: IpAddress
    protocol: str  # as nft names it: tcp, udp, icmp, ipv6-icmp
    port: int = 0  # the destination's; 0: the protocol has none
    iif: str = ""  # the link by which it came into this namespace
    oif: str = ""  # by which it leaves; empty: not known yet
    iifgroup: int = 0
    oifgroup: int = 0
    mark: int = 0
    ct_mark: int = 0  # of its connection
    translated: frozenset[str] = frozenset()  # dnat, snat: the connection's status
    opened_to: tuple[IpAddress, int] | None = (
        None  # destination and port before they were translated; None: they weren't
    )
    answers: bool = False  # it is the first answer

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.source.version

    @property
    def target(self) -> str:
        """The destination, with the port if there is one."""
        address = f"[{self.destination}]" if self.port and self.version == 6 else str(self.destination)
        return f"{address}:{self.port}" if self.port else address

    @property
    def original(self) -> tuple[IpAddress, int]:
        """Destination and port, as its connection was opened."""
        return self.opened_to or (self.destination, self.port)

    def entering(self, iif: str, group: int) -> Packet:
        """Return the packet as it comes into another namespace: what this one knew of it stays behind."""
        return Packet(self.source, self.destination, self.protocol, self.port, iif=iif, iifgroup=group)


class Step(msgspec.Struct, frozen=True):
    """One decision on the way."""

    where: str  # the instance, or `host`
    what: str  # route, rule, mark, nat, filter, …
    result: str  # in words
    by: tuple[str, ...] = ()  # what decided, as the kernel prints it
    asked: tuple[str, ...] = ()  # the commands that print it


class Way(msgspec.Struct, frozen=True):
    """All decisions, and where it ends."""

    steps: tuple[Step, ...]
    end: str  # leaves, delivered, bridge, unreachable, dropped, lost
    words: str  # the end in words
