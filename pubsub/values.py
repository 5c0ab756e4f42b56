"""Small values that are written as text: port maps, address ranges, durations, endpoints, MAC addresses."""

from __future__ import annotations

import base64
import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Self

PROTOCOLS = ("tcp", "udp")
ENDPOINT_PORTS = {"icmp": 0, "tcp": 0, "http": 80}  # by scheme: the port where none is written
UPLINK_WORD = r"[A-Za-z_][A-Za-z0-9_.@-]{0,31}"  # an uplink's ifname or label; no digit first: `80:80` has no uplink
RATE_UNITS = ("", "bytes", "kbytes", "mbytes")  # what a rate counts, in nft's words; empty: packets
RATE_PERIODS = {"s": "second", "m": "minute", "h": "hour"}  # with nft's words
SIZE_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}  # bytes
WIREGUARD_KEY_BYTES = 32  # of Curve25519
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
    """`[uplink:]outer:inner/protocol`: a port of the uplink that leads to a port of the app."""

    __slots__ = ("inner", "outer", "protocol", "uplink")

    def __init__(self, outer: int, inner: int, protocol: str, uplink: str = "") -> None:
        self.outer = outer
        self.inner = inner
        self.protocol = protocol
        self.uplink = uplink  # ifname or label; empty: the uplink that is selected for the instance

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `8080:80/tcp` or `eth1:8080:80`; the protocol may be left out (tcp). Raises ValueError."""
        match = re.fullmatch(rf"(?:({UPLINK_WORD}):)?(\d{{1,5}}):(\d{{1,5}})(?:/(\w+))?", text)
        if not match:
            raise ValueError("not a port map; write OUTER:INNER/PROTOCOL, as 8080:80/tcp, or UPLINK:8080:80/tcp")
        outer, inner, protocol = int(match[2]), int(match[3]), (match[4] or "tcp").lower()
        if not (0 < outer < 65536 and 0 < inner < 65536):
            raise ValueError("not a port; ports go from 1 to 65535")
        if protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
        return cls(outer, inner, protocol, match[1] or "")

    def __str__(self) -> str:
        return f"{self.uplink}{':' if self.uplink else ''}{self.outer}:{self.inner}/{self.protocol}"


class Endpoint(Text):
    """`scheme://address[:port][/path]`: something that a probe asks. An address, for a name would need DNS first."""

    __slots__ = ("address", "path", "port", "scheme")

    def __init__(self, scheme: str, address: IPv4Address | IPv6Address, port: int, path: str) -> None:
        self.scheme = scheme
        self.address = address
        self.port = port  # 0: icmp has none
        self.path = path  # of http

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `icmp://198.51.100.1`, `tcp://198.51.100.1:443` or `http://[2001:db8::1]/health`. Raises ValueError."""
        match = re.fullmatch(r"(\w+)://(?:\[([0-9a-fA-F:.]+)\]|([^/:\[\]\s]+))(?::(\d{1,5}))?(/[!-~]*)?", text)
        if not match or match[1] not in ENDPOINT_PORTS:
            raise ValueError("not an endpoint; write icmp://ADDRESS, tcp://ADDRESS:PORT or http://ADDRESS/PATH")
        scheme, host = match[1], match[2] or match[3]
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{host!r} is no address; a probe asks no DNS, write an address") from None
        port = int(match[4] or ENDPOINT_PORTS[scheme])
        if scheme == "icmp" and (match[4] or match[5]):
            raise ValueError("an echo has neither port nor path; write icmp://ADDRESS")
        if scheme == "tcp" and (not match[4] or match[5]):
            raise ValueError("a connection needs a port and no path; write tcp://ADDRESS:PORT")
        if scheme != "icmp" and not 0 < port < 65536:
            raise ValueError("not a port; ports go from 1 to 65535")
        return cls(scheme, address, port, (match[5] or "/") if scheme == "http" else "")

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        port = f":{self.port}" if self.port != ENDPOINT_PORTS[self.scheme] else ""
        return f"{self.scheme}://{host}{port}{self.path}"


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


class Network(Text):
    """A network of either family: `10.1.0.0/24`, `2001:db8::/32`, or one address."""

    __slots__ = ("network",)

    def __init__(self, network: IPv4Network | IPv6Network) -> None:
        self.network = network

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10.1.0.0/24`, `10.1.0.1` or `2001:db8::/32`. Raises ValueError with the remedy."""
        try:
            return cls(ipaddress.ip_network(text))
        except ValueError:
            pass
        try:
            inside = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError("not a network; write ADDRESS/PREFIXLEN, as 10.1.0.0/24 or 2001:db8::/32") from None
        raise ValueError(f"an address inside a network; write the network itself: {inside}")

    def __str__(self) -> str:
        single = self.network.prefixlen == self.network.max_prefixlen
        return str(self.network.network_address if single else self.network)


class IpAddress(Text):
    """An address of either family."""

    __slots__ = ("ip",)

    def __init__(self, ip: IPv4Address | IPv6Address) -> None:
        self.ip = ip

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10.1.0.1` or `2001:db8::1`. Raises ValueError with the remedy."""
        try:
            return cls(ipaddress.ip_address(text))
        except ValueError:
            raise ValueError("not an address; write it as 10.1.0.1 or 2001:db8::1") from None

    def __str__(self) -> str:
        return str(self.ip)


class PeerAddress(IpAddress):
    """The address of who is at the other end of a tunnel."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address. Raises ValueError with the remedy: a name would be asked for outside of the tunnel."""
        try:
            return cls(ipaddress.ip_address(text))
        except ValueError:
            raise ValueError(
                "not an address; write it as 203.0.113.1: a name would be asked for in the clear, outside of the tunnel"
            ) from None


class WireguardKey(Text):
    """A public key of WireGuard, as `wg pubkey` writes it."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read 44 characters of base64. Raises ValueError with the remedy."""
        try:
            found = cls(base64.b64decode(text, validate=True))
        except ValueError:
            found = cls(b"")
        if len(found.raw) != WIREGUARD_KEY_BYTES or str(found) != text:
            raise ValueError("not a key of WireGuard; write the 44 characters that `wg pubkey` prints")
        return found

    def __str__(self) -> str:
        return base64.b64encode(self.raw).decode()


class PortRange(Text):
    """One port or `first-last`, both inclusive."""

    __slots__ = ("first", "last")

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """Read `80` or `8000-8100`. Raises ValueError with the remedy."""
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", str(text))
        if not match:
            raise ValueError("not a port; write a number, as 80, or FIRST-LAST, as 8000-8100")
        first, last = int(match[1]), int(match[2] or match[1])
        if not (0 < first < 65536 and 0 < last < 65536):
            raise ValueError("not a port; ports go from 1 to 65535")
        if first > last:
            raise ValueError("the first port is above the last; swap them")
        return cls(first, last)

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class Rate(Text):
    """`5/s`: packets in a time; or bytes: `100kbytes/s`."""

    __slots__ = ("amount", "period", "unit")

    def __init__(self, amount: int, unit: str, period: str) -> None:
        self.amount = amount
        self.unit = unit  # one of RATE_UNITS
        self.period = period  # a key of RATE_PERIODS

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `5/s`, `300/m` or `2mbytes/s`. Raises ValueError with the remedy."""
        match = re.fullmatch(r"(\d{1,9}) ?([a-z]*)/([smh])", text)
        if not match or match[2] not in RATE_UNITS or not int(match[1]):
            raise ValueError("not a rate; write packets or bytes in a time, as 5/s, 300/m or 100kbytes/s")
        return cls(int(match[1]), match[2], match[3])

    def __str__(self) -> str:
        return f"{self.amount}{self.unit}/{self.period}"


class Size(int):
    """Bytes, written as `512K`, `256M` or `2G`: each unit is 1024 of the one before."""

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """Read a number with its unit; a bare number is bytes. Raises ValueError with the remedy."""
        match = re.fullmatch(r"(\d{1,15})([KMGT]?)", str(text))
        if not match:
            raise ValueError("not a size; write a number and K, M or G, as 256M")
        return cls(int(match[1]) * SIZE_UNITS.get(match[2], 1))

    def __str__(self) -> str:
        for unit, size in reversed(SIZE_UNITS.items()):
            if int(self) and not int(self) % size:
                return f"{int(self) // size}{unit}"
        return str(int(self))


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


class Interval(float):
    """Seconds to the millisecond, written as `500ms`, `5s` or `2m`."""

    @classmethod
    def parse(cls, text: str | float) -> Self:
        """Read a number with its unit; a bare number is seconds. Raises ValueError with the remedy."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)?", str(text))
        if not match:
            raise ValueError("not an interval; write a number and ms, s or m, as 500ms")
        return cls(round(float(match[1]) * {"ms": 1, "s": 1000, "m": 60_000}[match[2] or "s"]) / 1000)

    def __str__(self) -> str:
        milliseconds = round(float(self) * 1000)
        return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


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
