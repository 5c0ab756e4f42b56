"""Netlink on a raw socket: requests, dumps and attributes; only what is asked for is decoded.

pyroute2 decodes every attribute of every message: 220 ms for the links, addresses, routes and rules of a host with 256
veths, where this takes a tenth. Both ends are synchronous: the kernel has answered when `send` returns.
See netlink(7), rtnetlink(7) and the kernel's Documentation/userspace-api/netlink.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_BROADCAST_ERROR = 4  # who sends to all learns that this one had no room
NETLINK_CAP_ACK = 10  # an error doesn't repeat the request
NETLINK_EXT_ACK = 11  # an error carries the kernel's words
NETLINK_GET_STRICT_CHK = 12  # dumps are filtered by the kernel

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10  # the objects changed while they were dumped
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_DUMP = 0x300
NLM_F_ACK_TLVS = 0x200  # an error message carries attributes
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSGERR_ATTR_MSG = 1
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

RECEIVE_SIZE = 65536  # bytes; the kernel fills at most 32 KiB of a dump at once
DUMP_TRIES = 5  # of an interrupted dump; whatever changed meanwhile also comes as an event

HEADER = struct.Struct("=LHHLL")
ATTRIBUTE = struct.Struct("=HH")


def attribute(kind: int, value: bytes) -> bytes:
    """Encode one attribute, padded to four bytes."""
    return ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def nested(kind: int, *inner: bytes) -> bytes:
    """Encode an attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(inner))


def u32(kind: int, value: int) -> bytes:
    """Encode a number of 32 bits in the machine's order."""
    return attribute(kind, struct.pack("=L", value))


def text(kind: int, value: str) -> bytes:
    """Encode a string that ends with a zero byte."""
    return attribute(kind, value.encode() + b"\0")


def attributes(message: bytes, offset: int) -> dict[int, bytes]:
    """Return the attributes of a message from an offset on; of equal types the last."""
    found = {}
    end = len(message)
    unpack = ATTRIBUTE.unpack_from
    while offset + 4 <= end:
        length, kind = unpack(message, offset)
        if length < 4:
            break
        found[kind & NLA_TYPE_MASK] = message[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def number(value: bytes | None) -> int:
    """Return an attribute's number in the machine's order; 0 when it is absent."""
    return int.from_bytes(value, sys.byteorder) if value else 0


def string(value: bytes | None) -> str:
    """Return an attribute's text; empty when it is absent."""
    return value.rstrip(b"\0").decode(errors="replace") if value else ""


class Netlink:
    """One socket of one protocol in the network namespace of the thread that made it."""

    def __init__(self, protocol: int) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self.sequence = 0
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            self.socket.setsockopt(SOL_NETLINK, option, 1)
        self.socket.bind((0, 0))

    def close(self) -> None:
        """Give the socket back."""
        self.socket.close()

    def request(self, kind: int, flags: int, body: bytes) -> None:
        """Have the kernel do something. Raises OSError with the kernel's words."""
        self._send(kind, flags | NLM_F_ACK, body)
        for _ in self._answers():
            pass

    def ask(self, kind: int, body: bytes) -> bytes:
        """Return the body of the one answer to a question. Raises OSError."""
        self._send(kind, NLM_F_ACK, body)
        answer = b""
        for _, message in self._answers():
            answer = message
        return answer

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Return the bodies of all objects that the kernel lists. Raises OSError."""
        found: list[bytes] = []
        for _ in range(DUMP_TRIES):
            self._send(kind, NLM_F_DUMP, body)
            answers = list(self._answers())
            found = [message for _, message in answers]
            if not any(flags & NLM_F_DUMP_INTR for flags, _ in answers):
                break
        return found

    def stream(self, kind: int, body: bytes) -> Iterator[bytes]:
        """Yield the bodies of all objects that the kernel lists, one by one: there may be hundreds of thousands.

        What changes meanwhile may be missing, or there twice; nothing else may be asked until the end. Raises OSError.
        """
        self._send(kind, NLM_F_DUMP, body)
        return (message for _, message in self._answers())

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        self.socket.send(HEADER.pack(16 + len(body), kind, flags | NLM_F_REQUEST, self.sequence, 0) + body)

    def _answers(self) -> Iterator[tuple[int, bytes]]:
        """Yield the flags and the body of each answer to the last request, until its end."""
        while True:
            data = self.socket.recv(RECEIVE_SIZE)
            offset = 0
            while offset + 16 <= len(data):
                length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
                body = data[offset + 16 : offset + length]
                offset += (length + 3) & ~3
                if sequence != self.sequence:
                    continue
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    _raise_error(body, flags, attributes_at=4 if kind == NLMSG_DONE else 20)
                    return
                yield flags, body


def _raise_error(body: bytes, flags: int, attributes_at: int) -> None:
    """Raise OSError unless the end of an answer says that all went well."""
    (code,) = struct.unpack_from("=i", body) if len(body) >= 4 else (0,)
    if code >= 0:
        return
    words = string(attributes(body, attributes_at).get(NLMSGERR_ATTR_MSG)) if flags & NLM_F_ACK_TLVS else ""
    raise OSError(-code, f"{os.strerror(-code)}: {words}" if words else os.strerror(-code))
