"""Hostile bytes for the hub and the control socket: what hypothesis draws. Every list of messages is counted."""

from __future__ import annotations

import struct
import types
import typing
from typing import Any

import msgpack  # type: ignore[import-untyped]  # ships no types
import msgspec
from hypothesis import strategies as st

from pubsub import wire

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)  # ZMTP 3.0, RFC 23
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
MORE, LONG, COMMAND = 1, 2, 4  # flags of a ZMTP frame
NAMES = (
    "writer/Note",
    "a/b",
    "a/b/c",
    "hub/TableStatus",
    "*/*",
    "*/*/*",
    "",
    "../../etc/passwd",
    "a/\x1b[2J",
    "é" * 300,
)
WORDS = st.sampled_from(NAMES) | st.text(max_size=40)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.integers(-3, 3)
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | WORDS | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(WORDS | NUMBERS, inner, max_size=5),
    max_leaves=12,
)
_BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    int: NUMBERS, str: WORDS, bool: st.booleans(), bytes: st.binary(max_size=300),
}  # fmt: skip


def _field(type_: Any) -> st.SearchStrategy[Any]:
    """Draw what a field wants; seldom something else."""
    found: st.SearchStrategy[Any]
    if isinstance(type_, types.UnionType):
        found = st.one_of(*(_field(one) for one in typing.get_args(type_)))
    elif typing.get_origin(type_) is tuple:
        inner = typing.get_args(type_)
        found = st.lists(_field(inner[0]), max_size=4) if inner[-1] is ... else st.tuples(*map(_field, inner))
    else:
        found = _BY_TYPE.get(type_, ANYTHING)
    return st.integers(0, 15).flatmap(lambda chance: ANYTHING if chance == 0 else found)


def _frame(kind: type[wire.Frame]) -> st.SearchStrategy[list[Any]]:
    hints = typing.get_type_hints(kind)
    fields = [_field(hints[field.name]) for field in msgspec.structs.fields(kind)]
    tag = kind.__struct_config__.tag
    return st.tuples(*fields).map(lambda values: [tag, *values])


def _packed(value: Any) -> bytes:
    made: bytes = msgpack.packb(value, unicode_errors="surrogatepass")
    return made


def _torn(message: tuple[bytes, int, int]) -> bytes:
    """Cut a message, or change a byte of it, sometimes."""
    data, how, where = message
    if how == 0 and data:
        return data[: where % len(data)]
    if how == 1 and data:
        at = where % len(data)
        return data[:at] + bytes([data[at] ^ (where & 0xFF or 1)]) + data[at + 1 :]
    return data


FRAMES = (
    st.tuples(
        st.one_of(*(_frame(kind) for kind in typing.get_args(wire.ToHub))).map(_packed)
        | ANYTHING.map(_packed)
        | st.binary(max_size=200),
        st.integers(0, 9),
        st.integers(0, 2**16),
    ).map(_torn)
)  # fmt: skip


def _zmtp(part: tuple[int, bytes, int]) -> bytes:
    """Return a frame of ZMTP; its length is sometimes a lie."""
    flags, body, lie = part
    size = len(body) if lie > 3 else (0, 255, 2**31, 2**63 + 5)[lie]
    length = struct.pack(">Q", size) if flags & LONG else bytes([size & 0xFF])
    return bytes([flags]) + length + body


CONNECTIONS = st.tuples(
    st.sampled_from((b"", GREETING[:10], GREETING[:-1], GREETING, GREETING.replace(b"NULL", b"PLAIN")))
    | st.binary(max_size=80),
    st.sampled_from((b"", bytes([COMMAND, len(READY)]) + READY)) | st.binary(max_size=80),
    st.lists(st.tuples(st.integers(0, 255) | st.integers(0, 7), FRAMES, st.integers(0, 12)).map(_zmtp), max_size=6),
).map(lambda parts: parts[0] + parts[1] + b"".join(parts[2]))  # fmt: skip

_DO = st.sampled_from(("ping", "reload", "restart", "plan", "run", "exec", "", "do"))  # not `down`: that is its purpose
_BODY = st.dictionaries(
    st.sampled_from(("instance", "instances", "uplinks", "argv", "env", "cwd", "name")),
    ANYTHING | st.sampled_from(("red", "nobody", ["true"], {"red": {}}, {"red": {"subnet": 5}}, {"new": {"apps": 7}})),
    max_size=5,
)
_COMMAND = st.fixed_dictionaries(
    {
        "do": st.sampled_from(("run", "exec")), "instance": st.just("red"), "cwd": ANYTHING | st.just("/"),
        "argv": ANYTHING | st.lists(st.text(max_size=5), max_size=3), "env": ANYTHING | st.just({}),
    },
    optional={"name": WORDS},
)  # fmt: skip
REQUESTS = (
    _COMMAND.map(_packed)
    | st.builds(lambda do, body: {**body, "do": do}, _DO, _BODY).map(_packed)
    | ANYTHING.filter(lambda value: not isinstance(value, dict)).map(_packed)
    | st.binary(max_size=200)
    | st.just(b"\x91" * 5000)
)  # fmt: skip
LENGTHS = st.integers(0, 9)  # 0 to 2: the length is a lie


def request(body: bytes, lie: int) -> bytes:
    """Return what is sent to the control socket."""
    size = (0, len(body) + 7, 2**32 - 1)[lie] if lie < 3 else len(body)
    return struct.pack(">I", size) + body
