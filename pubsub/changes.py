"""What a subscriber is told."""

from __future__ import annotations

import dataclasses
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told:
    """What all have: `table` is the whole name, `scope` its middle part, or empty."""

    table: str
    scope: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Created(Told, Generic[T]):
    """A key that the reader didn't know."""

    key: str
    value: T


@dataclasses.dataclass(frozen=True, kw_only=True)
class Modified(Told, Generic[T]):
    """A later value; those in between may have been skipped."""

    key: str
    value: T
    old: T


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deleted(Told, Generic[T]):
    """The key was withdrawn."""

    key: str
    old: T


@dataclasses.dataclass(frozen=True, kw_only=True)
class Synchronized(Told):
    """All that existed was given; again after each resync. `table` is what was subscribed to."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restarted(Told):
    """The table has a new writer."""

    count: int  # writers so far


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stale(Told):
    """The table's writer is gone; its values stay."""

    since: float  # seconds since the epoch


Change = Created[T] | Modified[T] | Deleted[T] | Synchronized | Restarted | Stale


@dataclasses.dataclass(frozen=True)
class Record(Generic[T]):
    """One record of a stream."""

    number: int
    value: T


@dataclasses.dataclass(frozen=True)
class Lost:
    """Records that this reader will never see."""

    count: int
