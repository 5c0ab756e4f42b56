"""What an nft expression gives for a packet, and whether that matches; see libnftables-json(5)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from supervisor.passage.packet import CLIENT_PORT, IpAddress, Packet

MARK_LENGTH = 32  # bits
MARK_BITS = (1 << MARK_LENGTH) - 1
UNCOUNTED_ID = MARK_BITS  # of a connection: the kernel draws one, which is in no sample, as most aren't
CALCULATIONS: dict[str, Callable[[int, int], int]] = {
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
}
# IANA's numbers: where a machine has no /etc/protocols nft lists them, and takes nothing else.
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "ipv6-icmp": 58}


class NoMatchError(Exception):
    """The packet has no such field: the rule ends here."""


class UnknownError(Exception):
    """Nothing can be said of such an expression."""


def field(packet: Packet, expression: Any) -> Any:
    """Return what an expression without sets gives: an address, number, name, or a set of flags.

    Raises NoMatchError, UnknownError.
    """
    if not isinstance(expression, dict):
        return expression
    [(kind, words)] = expression.items()
    if kind == "meta":
        return _known(_meta(packet), words["key"], expression)
    if kind == "ct" and "dir" in words:
        return _end(packet, words["dir"], words["key"])
    if kind == "ct":
        return _known(_tracked(packet), words["key"], expression)
    if kind == "payload" and "field" in words:
        return _payload(packet, words["protocol"], words["field"])
    if kind == "rt":
        raise NoMatchError  # of the route only limits ask: as for a neighbour that is known to none
    if kind in CALCULATIONS:
        left, right = (field(packet, one) for one in words)
        if not isinstance(left, int) or not isinstance(right, int):
            raise UnknownError(kind)
        return CALCULATIONS[kind](left, right) & MARK_BITS
    raise UnknownError(kind)


def _known(values: Mapping[str, Any], key: str, expression: Any) -> Any:
    if key not in values:
        raise UnknownError(str(expression))
    return values[key]


def _meta(packet: Packet) -> dict[str, Any]:
    return {
        "mark": packet.mark,
        "iifname": packet.iif,
        "iif": packet.iif,
        "iifgroup": packet.iifgroup,
        "oifname": packet.oif,
        "oif": packet.oif,
        "oifgroup": packet.oifgroup,
        "nfproto": f"ipv{packet.version}",
        "protocol": "ip" if packet.version == 4 else "ip6",
        "l4proto": packet.protocol,
        "pkttype": "host",
    }


def _tracked(packet: Packet) -> dict[str, Any]:
    return {
        "state": frozenset({"established" if packet.answers else "new"}),
        "direction": "reply" if packet.answers else "original",
        "status": packet.translated,
        "mark": packet.ct_mark,
        "id": UNCOUNTED_ID,
    }


def _end(packet: Packet, direction: str, key: str) -> Any:
    """Return an address or port of the connection: of the answer's direction they are as translated so far."""
    header = "ip" if packet.version == 4 else "ip6"
    asked, asked_port = packet.original
    ends: dict[tuple[str, str], Any] = {
        ("original", f"{header} saddr"): packet.source,
        ("original", f"{header} daddr"): asked,
        ("reply", f"{header} saddr"): packet.destination,
        ("reply", f"{header} daddr"): packet.source,
    }
    if packet.port:
        ends |= {
            ("original", "proto-src"): CLIENT_PORT,
            ("original", "proto-dst"): asked_port,
            ("reply", "proto-src"): packet.port,
            ("reply", "proto-dst"): CLIENT_PORT,
        }
    elif key.startswith("proto-"):
        raise NoMatchError
    if (direction, key) in ends:
        return ends[direction, key]
    if key.startswith(("ip ", "ip6 ")):
        raise NoMatchError
    raise UnknownError(f"ct {direction} {key}")


def _payload(packet: Packet, protocol: str, name: str) -> Any:
    header = "ip" if packet.version == 4 else "ip6"
    if protocol == header and name in ("saddr", "daddr"):
        return packet.source if name == "saddr" else packet.destination
    if protocol == header and name in ("protocol", "nexthdr"):
        return packet.protocol
    if protocol in ("th", packet.protocol) and name == "dport" and packet.port:
        return packet.port
    if protocol in ("th", packet.protocol) and name == "sport" and packet.port:
        return CLIENT_PORT
    if protocol == packet.protocol == "tcp" and name == "flags":
        return frozenset({"syn"})
    if _order(protocol) == _order(packet.protocol) and name == "type" and not packet.port:
        return "echo-request"
    if protocol in (packet.protocol, header):
        raise UnknownError(f"{protocol} {name}")
    raise NoMatchError


def matches(value: Any, pattern: Any) -> bool:
    """Tell whether a value is what a pattern without named sets allows. Raises UnknownError."""
    if isinstance(value, frozenset):
        if isinstance(pattern, dict) and "set" in pattern:
            pattern = pattern["set"]
        return any(one in value for one in (pattern if isinstance(pattern, list) else [pattern]))
    if isinstance(pattern, list):
        return any(matches(value, one) for one in pattern)
    if isinstance(value, tuple):
        parts = pattern.get("concat") if isinstance(pattern, dict) else None
        return parts is not None and all(matches(one, part) for one, part in zip(value, parts, strict=True))
    if isinstance(pattern, dict):
        [(kind, words)] = pattern.items()
        if kind == "set":
            return any(matches(value, one) for one in words)
        if kind == "range":
            return bool(_order(words[0]) <= _order(value) <= _order(words[1]))
        if kind == "prefix" and isinstance(value, int):  # nft's way to write a number and its mask
            rest = MARK_LENGTH - int(words["len"])
            return value >> rest == int(str(words["addr"]), 0) >> rest
        if kind == "prefix":
            return value in ip_network(f"{words['addr']}/{words['len']}", strict=False)
        raise UnknownError(kind)
    if isinstance(pattern, str) and pattern.endswith("*"):
        return str(value).startswith(pattern[:-1])
    return bool(_order(value) == _order(pattern))


def _order(value: Any) -> Any:
    """Return a value that can be compared: addresses may come as text, numbers as hexadecimal, protocols as names."""
    if isinstance(value, str):
        for read in (lambda text: int(text, 0), ip_address):
            try:
                return read(value)
            except ValueError:
                continue
        return PROTOCOLS.get(value, value)
    return value


def element_words(packet: Packet, key: Any) -> str:
    """Return the key of a set's element as nft reads it."""
    parts = key["concat"] if isinstance(key, dict) and "concat" in key else [key]
    return " . ".join(_element_word(part, field(packet, part)) for part in parts)


def _element_word(expression: Any, value: Any) -> str:
    words = next(iter(expression.values())) if isinstance(expression, dict) else None
    name = words.get("key", "") if isinstance(words, dict) else ""
    if name in ("iifname", "oifname"):
        return f'"{value}"'
    if name == "l4proto":
        return str(PROTOCOLS[value])
    return hex(value) if name == "mark" else str(value)


def address_and_port(value: Any) -> tuple[IpAddress, int]:
    """Return what a NAT map's element or an immediate says; port 0: the packet's own stays."""
    parts = value.split(" . ") if isinstance(value, str) else list(value) if isinstance(value, tuple) else [value]
    return ip_address(str(parts[0])), int(parts[1]) if len(parts) > 1 else 0
