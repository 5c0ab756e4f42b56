"""What a subscriber is told."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What all have: `table` is the whole name, `scope` its middle part, or empty."""

    table: str
    scope: str


class Created(Told, Generic[T], frozen=True, kw_only=True):
    """A key that the reader didn't know."""

    key: str
    value: T


class Modified(Told, Generic[T], frozen=True, kw_only=True):
    """A later value; those in between may have been skipped."""

    key: str
    value: T
    old: T


class Deleted(Told, Generic[T], frozen=True, kw_only=True):
    """The key was withdrawn."""

    key: str
    old: T


class Synchronized(Told, frozen=True, kw_only=True):
    """All that existed was given; again after each resync. `table` is what was subscribed to."""


class Restarted(Told, frozen=True, kw_only=True):
    """The table has a new writer, or the one that was told as gone is back."""

    count: int  # writers so far


class Stale(Told, frozen=True, kw_only=True):
    """The table's writer is gone; its values stay."""

    since: float  # seconds since the epoch


Change = Created[T] | Modified[T] | Deleted[T] | Synchronized | Restarted | Stale


class Record(msgspec.Struct, Generic[T], frozen=True):
    """One record of a stream."""

    number: int
    value: T


class Lost(msgspec.Struct, frozen=True):
    """Records that this reader will never see."""

    count: int
