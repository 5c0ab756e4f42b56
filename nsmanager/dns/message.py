"""A DNS message, read strictly: what isn't as RFC 1035 has it is no message. Pure."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import msgspec

HEADER = struct.Struct("!HHHHHH")
RECORD = struct.Struct("!HHIH")  # type, class, TTL, length
IN = 1  # the Internet's class
A, CNAME, NS, PTR, DNAME, AAAA = 1, 5, 2, 12, 39, 28
NAMED = (CNAME, NS, PTR, DNAME)  # whose data is one name
TYPES = {
    A: "A", NS: "NS", CNAME: "CNAME", 6: "SOA", PTR: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", AAAA: "AAAA", 33: "SRV",
    35: "NAPTR", DNAME: "DNAME", 41: "OPT", 43: "DS", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 52: "TLSA",
    64: "SVCB", 65: "HTTPS", 251: "IXFR", 252: "AXFR", 255: "ANY", 257: "CAA",
}  # fmt: skip
CODES = {
    0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN", 7: "YXRRSET",
    8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE",
}  # fmt: skip
LONGEST_NAME = 255  # bytes
JUMPS = 32  # of one compressed name; each must lead backwards anyway
LONGEST_TTL = 2**31 - 1  # seconds; more means 0 (RFC 2181)


class Malformed(ValueError):  # noqa: N818  # as dnspython and others say
    """These bytes are no DNS message."""


class Record(msgspec.Struct, frozen=True):
    """One resource record of an answer."""

    name: str
    type: int
    ttl: int  # seconds
    value: IPv4Address | IPv6Address | str  # an address, a name, or the type where the data is something else


class Message(msgspec.Struct, frozen=True):
    """A query or an answer with one question, as all are in practice."""

    id: int
    is_answer: bool
    code: int
    name: str  # asked for; in lower case, without the final dot
    type: int
    answers: tuple[Record, ...] = ()


def type_name(number: int) -> str:
    return TYPES.get(number, f"TYPE{number}")


def code_name(number: int) -> str:
    return CODES.get(number, f"RCODE{number}")


def parse(raw: bytes) -> Message:
    """Return the message; of an answer that was cut off, what is whole. Raises Malformed."""
    try:
        number, flags, questions, answers, _, _ = HEADER.unpack_from(raw)
        if questions != 1:
            raise Malformed(f"{questions} questions")
        name, offset = _name(raw, HEADER.size)
        kind, _ = struct.unpack_from("!HH", raw, offset)
        records = []
        offset += 4
        is_answer, is_cut_off = bool(flags & 0x8000), bool(flags & 0x0200)
        for _ in range(answers if is_answer else 0):
            if is_cut_off and offset >= len(raw):
                break
            record, offset = _record(raw, offset)
            if record is not None:
                records.append(record)
    except (struct.error, IndexError) as exc:
        raise Malformed("ends too early") from exc
    return Message(number, is_answer, flags & 0xF, name, kind, tuple(records))


def _record(raw: bytes, offset: int) -> tuple[Record | None, int]:
    """Return the record at an offset, None where it isn't of the Internet, and where the next one begins."""
    name, offset = _name(raw, offset)
    kind, family, ttl, length = RECORD.unpack_from(raw, offset)
    offset += RECORD.size
    end = offset + length
    if end > len(raw):
        raise Malformed("a record is longer than the message")
    if family != IN:
        return None, end
    value: IPv4Address | IPv6Address | str = type_name(kind)
    if kind == A:
        value = IPv4Address(_exactly(raw[offset:end], 4))
    elif kind == AAAA:
        value = IPv6Address(_exactly(raw[offset:end], 16))
    elif kind in NAMED:
        value, after = _name(raw, offset)
        if after != end:
            raise Malformed("a name isn't as long as its record")
    return Record(name, kind, ttl if ttl <= LONGEST_TTL else 0, value), end


def _exactly(raw: bytes, length: int) -> bytes:
    if len(raw) != length:
        raise Malformed(f"an address of {len(raw)} bytes")
    return raw


def _name(raw: bytes, offset: int) -> tuple[str, int]:
    """Return a name, and where what follows it begins. Raises Malformed, IndexError."""
    labels: list[str] = []
    after, length, jumps = 0, 1, 0
    while size := raw[offset]:
        if size >= 0xC0:
            target = (size & 0x3F) << 8 | raw[offset + 1]
            after = after or offset + 2
            jumps += 1
            if target >= offset or jumps > JUMPS:
                raise Malformed("a name points forwards, or too often")
            offset = target
            continue
        if size > 63:
            raise Malformed("a label of an unknown kind")
        label = raw[offset + 1 : offset + 1 + size]
        length += size + 1
        if len(label) != size or length > LONGEST_NAME:
            raise Malformed("a name is too long")
        labels.append(_label(label))
        offset += 1 + size
    return ".".join(labels), after or offset + 1


def _label(raw: bytes) -> str:
    """Return a label in lower case; what isn't printable, or has a meaning, as RFC 1035 writes it in files."""
    return "".join(chr(byte).lower() if 0x20 < byte < 0x7F and byte not in b'.\\"' else f"\\{byte:03d}" for byte in raw)
