"""One table's file: records, each with its length and CRC-32, appended; now and then written anew, by atomic rename.

A file is a state, not a history: reading it gives the table. A torn or garbage tail is cut off where it begins.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from pubsub.limits import FRAME_LIMIT, KIB

PREFIX = struct.Struct("<II")  # length of the payload, CRC-32 of the payload
SLACK = 64 * KIB  # bytes of old records that may stand in a file, beside as many as live ones
RECORD_COST = 32  # bytes around a key and a value, about


class Record(msgspec.Struct, array_like=True, frozen=True):
    """What all records share: an array whose first element is the class's tag."""


class Head(Record, frozen=True, tag="head"):
    """The first one of every file."""

    name: str
    sequence: int
    keep: int = 0  # 0: a table; else a stream
    incarnation: int = 0  # of a stream
    lost: int = 0


class Owned(Record, frozen=True, tag="owned"):
    """A writer came."""

    epoch: int
    starts: int
    client: str
    agent: str
    uid: int
    gid: int
    pid: int  # 0 with an empty client: none
    birth: str
    base: int = 0  # of a stream


class Left(Record, frozen=True, tag="left"):
    """The writer is gone."""

    since: float


class Set(Record, frozen=True, tag="set"):
    """A key has a value; None: withdrawn."""

    key: str
    value: bytes | None


class Item(Record, frozen=True, tag="item"):
    """A record of a stream."""

    number: int
    value: bytes


_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Head | Owned | Left | Set | Item)


def pack(record: Record) -> bytes:
    """Write a record with its prefix."""
    payload = _ENCODER.encode(record)
    return PREFIX.pack(len(payload), zlib.crc32(payload)) + payload


def unpack(data: bytes) -> Iterator[tuple[int, Record]]:
    """Read records, each with the offset of its end, up to the end or the first that is not whole."""
    offset = 0
    while offset + PREFIX.size <= len(data):
        length, checksum = PREFIX.unpack_from(data, offset)
        payload = data[offset + PREFIX.size : offset + PREFIX.size + length]
        if length > FRAME_LIMIT or len(payload) < length or zlib.crc32(payload) != checksum:
            return
        try:
            record = _DECODER.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        offset += PREFIX.size + length
        yield offset, record


def append(path: Path, data: bytes, size: int) -> None:
    """Append to a file that is `size` bytes long. Raises OSError; the file is then as before, if that's possible."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _write_all(descriptor, [data])
    except OSError:
        os.ftruncate(descriptor, size)
        raise
    finally:
        os.close(descriptor)


def write_new(path: Path, records: Iterable[Record]) -> int:
    """Write a whole file beside the path, for `os.rename`; return its size. Raises OSError; nothing is left then."""
    temporary = temporary_of(path)
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return _write_all(descriptor, map(pack, records))
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def temporary_of(path: Path) -> Path:
    """Find where `write_new` writes."""
    return path.with_suffix(".new")


def sync_new(path: Path) -> None:
    """Wait until the file of `write_new` is on the disk. Blocks. Raises OSError."""
    sync(temporary_of(path))


def sync_renamed(path: Path) -> None:
    """Wait until a file that took another's place did so on the disk too. Blocks. Raises OSError."""
    sync(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's or folder's content is on the disk. Blocks. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, chunks: Iterable[bytes]) -> int:
    total = 0
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]
        total += len(chunk)
    return total
