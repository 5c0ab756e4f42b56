"""Small values that are written as text: port maps, address ranges, durations, MAC addresses."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import Self

PROTOCOLS = ("tcp", "udp")
DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds


class Text:
    """A value that is equal and hashed by its text. No dataclass: msgspec would write one as a map."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}.parse({str(self)!r})"


class PortMap(Text):
    """`outer:inner/protocol`: a port of the uplink that leads to a port of the app."""

    __slots__ = ("inner", "outer", "protocol")

    def __init__(self, outer: int, inner: int, protocol: str) -> None:
        self.outer = outer
        self.inner = inner
        self.protocol = protocol

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `8080:80/tcp`; the protocol may be left out (tcp). Raises ValueError with the remedy."""
        match = re.fullmatch(r"(\d{1,5}):(\d{1,5})(?:/(\w+))?", text)
        if not match:
            raise ValueError("not a port map; write OUTER:INNER/PROTOCOL, as 8080:80/tcp")
        outer, inner, protocol = int(match[1]), int(match[2]), (match[3] or "tcp").lower()
        if not (0 < outer < 65536 and 0 < inner < 65536):
            raise ValueError("not a port; ports go from 1 to 65535")
        if protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
        return cls(outer, inner, protocol)

    def __str__(self) -> str:
        return f"{self.outer}:{self.inner}/{self.protocol}"


class AddressRange(Text):
    """`first-last`, both inclusive."""

    __slots__ = ("first", "last")

    def __init__(self, first: IPv4Address, last: IPv4Address) -> None:
        self.first = first
        self.last = last

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10.1.0.100-10.1.0.199`. Raises ValueError with the remedy."""
        first, dash, last = (part.strip() for part in text.partition("-"))
        if not dash:
            raise ValueError("not a range; write FIRST-LAST, as 10.1.0.100-10.1.0.199")
        found = cls(IPv4Address(first), IPv4Address(last))
        if found.first > found.last:
            raise ValueError("the range's first address is above its last; swap them")
        return found

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


class Duration(int):
    """Whole seconds, written as `90s`, `30m`, `12h` or `7d`."""

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """Read a number with its unit; a bare number is seconds. Raises ValueError with the remedy."""
        match = re.fullmatch(r"(\d+)([smhd]?)", str(text))
        if not match:
            raise ValueError("not a duration; write a number and s, m, h or d, as 12h")
        return cls(int(match[1]) * DURATION_UNITS[match[2] or "s"])

    def __str__(self) -> str:
        for unit, seconds in reversed(DURATION_UNITS.items()):
            if int(self) and not int(self) % seconds:
                return f"{int(self) // seconds}{unit}"
        return f"{int(self)}s"


class MacAddress(str):
    """A unicast Ethernet address in lower case with colons."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `02:00:00:00:00:01`. Raises ValueError with the remedy."""
        if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text):
            raise ValueError("not a MAC address; write six hexadecimal pairs, as 02:00:00:00:00:01")
        if int(text[:2], 16) & 1:
            raise ValueError("a multicast MAC address; the first pair must be even")
        return cls(text.lower())
