"""Knows how messages become bytes (msgpack) and plain values (JSON, YAML), and back.

Addresses and everything in `values.py` travel as their text, so that a reader in another language needs no library
of ours. There is one conversion for the wire and for files: `decode` and `from_plain` share it.
"""

from __future__ import annotations

import hashlib
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

ADDRESS_TYPES = (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)


class CodecError(ValueError):
    """Bytes or values that aren't a message of the wanted type; the text names the field."""


def encode(message: object) -> bytes:
    """Write a message as msgpack. Fields that have their default are left out."""
    return _ENCODER.encode(message)


def digest(message: object) -> str:
    """Return a short text that differs when messages differ: an answer names by it what it answers."""
    return hashlib.blake2s(encode(message), digest_size=8).hexdigest()


def decode(type_: type[T], data: bytes | memoryview) -> T:
    """Read a message from msgpack. Unknown fields are ignored. Raises CodecError."""
    try:
        found: T = _decoder(type_).decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as exc:
        raise CodecError(f"{type_.__name__}: {exc}") from exc
    return found


def to_plain(message: object, *, sparse: bool = False) -> Any:
    """Turn a message into dicts, lists, texts and numbers. `sparse` leaves out fields that have their default."""
    if sparse:
        return msgspec.to_builtins(message, enc_hook=_to_text)
    if isinstance(message, msgspec.Struct):
        return {name: to_plain(getattr(message, name)) for name in message.__struct_fields__}
    if isinstance(message, dict):
        return {str(key): to_plain(value) for key, value in message.items()}
    if isinstance(message, list | tuple | set | frozenset):
        return [to_plain(value) for value in message]
    return msgspec.to_builtins(message, enc_hook=_to_text)


def from_plain(type_: type[T], value: object) -> T:
    """Turn dicts, lists, texts and numbers into a message. Unknown fields are ignored. Raises CodecError."""
    try:
        return msgspec.convert(value, type_, dec_hook=_from_text)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise CodecError(str(exc)) from exc


def _to_text(value: object) -> str:
    if isinstance(value, ADDRESS_TYPES) or hasattr(type(value), "parse"):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no form on the wire")


def _from_text(type_: type, value: object) -> object:
    """Read what `_to_text` wrote; msgspec turns a ValueError into its own error, with the field's path."""
    if isinstance(value, type_):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and issubclass(type_, int | float):
        value = str(value)  # a duration or an interval in seconds
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {type(value).__name__}")  # noqa: TRY004  # only ValueError is translated
    if hasattr(type_, "parse"):
        return type_.parse(value)
    return type_(value)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_to_text, order="deterministic")  # equal messages, equal bytes
_DECODERS: dict[type, msgspec.msgpack.Decoder[Any]] = {}  # making one costs more than decoding with it


def _decoder(type_: type) -> msgspec.msgpack.Decoder[Any]:
    if type_ not in _DECODERS:
        _DECODERS[type_] = msgspec.msgpack.Decoder(type_, dec_hook=_from_text)
    return _DECODERS[type_]
