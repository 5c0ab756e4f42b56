"""Files of tables: whatever is cut off or damaged, the records before it are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubsub import store_log
from pubsub.store_log import Head, Item, Left, Owned, Record, Set

RECORDS: list[Record] = [
    Head("a/B", 7),
    Owned(5, 1, "c", "agent", 0, 0, 1, "boot:1"),
    Set("key", b"value" * 10),
    Set("key", None),
    Item(3, b""),
    Left(1.5),
]
WHOLE = b"".join(map(store_log.pack, RECORDS))


def read(data: bytes) -> list[Record]:
    return [record for _, record in store_log.unpack(data)]


def test_what_was_written_is_read() -> None:
    assert read(WHOLE) == RECORDS
    assert list(store_log.unpack(WHOLE))[-1][0] == len(WHOLE)


@given(st.integers(0, len(WHOLE)))
def test_a_torn_file_is_read_up_to_its_last_whole_record(length: int) -> None:
    found = read(WHOLE[:length])
    assert found == RECORDS[: len(found)]
    assert len(found) == sum(end <= length for end, _ in store_log.unpack(WHOLE))


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_changed_byte_ends_the_reading_there(index: int, difference: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[index] ^= difference
    found = read(bytes(damaged))
    assert found == RECORDS[: len(found)]
    assert len(found) == sum(end <= index for end, _ in store_log.unpack(WHOLE))


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(data: bytes) -> None:
    read(data)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    (tmp_path / "file.log").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        store_log.append(tmp_path / "file.log", b"yours", 0)
    assert target.read_bytes() == b"mine"


def test_a_file_written_anew_replaces_nothing_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.log"
    path.write_bytes(b"old")
    assert store_log.write_new(path, RECORDS) == len(WHOLE)
    assert path.read_bytes() == b"old"
    assert store_log.temporary_of(path).read_bytes() == WHOLE
