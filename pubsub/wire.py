"""The frames of the bus: one msgpack array a message, the first element its kind. `docs/bus.md` describes them.

A *handle* is a number that a client chose for a publication or a subscription and never uses again, so that what is
still under way for an old one can't be mistaken.
"""

from __future__ import annotations

from typing import Any

import msgspec

VERSION = 1  # of this format; a hub greets with it
Entry = tuple[str, bytes | None]  # key and encoded value; None: the key is withdrawn


class Frame(msgspec.Struct, array_like=True, frozen=True):
    """What all frames share: an array whose first element is the class's tag."""


# --- from a client to the hub --------------------------------------------------------------------------------------


class Hello(Frame, frozen=True, tag="hello"):
    """Begin a session; also again after every reconnect."""

    version: int
    agent: str
    client: str  # chosen at random, the same over reconnects


class Publish(Frame, frozen=True, tag="publish"):
    """Claim a table."""

    handle: int
    table: str
    epoch: int  # of the writer: random, the same over reconnects
    persistent: bool = False


class Put(Frame, frozen=True, tag="put"):
    """Set and withdraw keys."""

    handle: int
    number: int  # grows by one with each frame of a publication; acknowledged
    entries: tuple[Entry, ...]


class Whole(Frame, frozen=True, tag="whole"):
    """The table was put as a whole since it was claimed: every other key goes."""

    handle: int
    number: int


class OpenStream(Frame, frozen=True, tag="open"):
    """Claim a stream."""

    handle: int
    table: str
    epoch: int
    keep: int
    base: int = 0  # number before this writer's first record, as an earlier Claimed told; 0: not yet known


class Append(Frame, frozen=True, tag="append"):
    """Records of a stream, counted by their writer from 1; a gap is a loss."""

    handle: int
    first: int
    records: tuple[bytes, ...]


class Release(Frame, frozen=True, tag="release"):
    """Give a table or a stream up. It stays, as stale."""

    handle: int


class Resumed(Frame, frozen=True, tag="resumed"):
    """All publications were claimed again after a reconnect; what this client had beside them is given up."""


class Subscribe(Frame, frozen=True, tag="subscribe"):
    """Follow a table, or all that a pattern matches."""

    handle: int
    table: str


class Follow(Frame, frozen=True, tag="follow"):
    """Follow a stream."""

    handle: int
    table: str
    last: int  # how many old records at first
    after: int = 0  # number of the last one seen, after a reconnect
    incarnation: int = 0  # the stream's, as Records told; 0: not yet known


class Cancel(Frame, frozen=True, tag="cancel"):
    """End a subscription."""

    handle: int


class Bye(Frame, frozen=True, tag="bye"):
    """End the session: all its tables are given up."""


# --- from the hub to a client --------------------------------------------------------------------------------------


class Greeting(Frame, frozen=True, tag="greeting"):
    """Whatever was before on this connection is forgotten: say hello."""

    version: int
    epoch: int  # of the hub's process


class Welcome(Frame, frozen=True, tag="welcome"):
    """The session stands."""

    epoch: int


class Claimed(Frame, frozen=True, tag="claimed"):
    """The table or stream is this client's."""

    handle: int
    starts: int  # how many writers it has had
    base: int = 0  # of a stream: number before this writer's first record
    last: int = 0  # of a stream: this writer's count that the hub has already


class Refused(Frame, frozen=True, tag="refused"):
    """No. Handle 0: the whole session."""

    handle: int
    code: str  # denied, taken, full, bad
    text: str  # of taken: the owner


class Ack(Frame, frozen=True, tag="ack"):
    """Everything of this publication up to the number is with the hub (and on disk, if the table is persistent)."""

    handle: int
    number: int


class Released(Frame, frozen=True, tag="released"):
    """The table or stream is given up."""

    handle: int


class Begin(Frame, frozen=True, tag="begin"):
    """A snapshot of one table begins: mark."""

    handle: int
    table: str
    starts: int
    stale_since: float  # seconds since the epoch; 0: its writer lives


class Changes(Frame, frozen=True, tag="changes"):
    """Later values of some keys."""

    handle: int
    table: str
    previous: int  # sequence that the Changes before this one told; 0: the first since Begin
    sequence: int
    entries: tuple[Entry, ...]


class Complete(Frame, frozen=True, tag="complete"):
    """The snapshot of the table is complete: sweep what it didn't name."""

    handle: int
    table: str


class Synchronized(Frame, frozen=True, tag="synchronized"):
    """Every table that the subscription matches is complete."""

    handle: int


class Restarted(Frame, frozen=True, tag="restarted"):
    """A new writer claimed the table."""

    handle: int
    table: str
    starts: int


class Stale(Frame, frozen=True, tag="stale"):
    """The table's writer is gone; its values stay. 0: the writer is back."""

    handle: int
    table: str
    since: float


class Records(Frame, frozen=True, tag="records"):
    """Records of a stream with consecutive numbers."""

    handle: int
    incarnation: int
    first: int
    records: tuple[bytes, ...]


class Beat(Frame, frozen=True, tag="beat"):
    """Nothing. It shows the hub whether the connection still stands."""


class Goodbye(Frame, frozen=True, tag="goodbye"):
    """The session has ended."""


ToHub = Hello | Publish | Put | Whole | OpenStream | Append | Release | Resumed | Subscribe | Follow | Cancel | Bye
ToClient = (
    Greeting
    | Welcome
    | Claimed
    | Refused
    | Ack
    | Released
    | Begin
    | Changes
    | Complete
    | Synchronized
    | Restarted
    | Stale
    | Records
    | Beat
    | Goodbye
)

_ENCODER = msgspec.msgpack.Encoder()
_TO_HUB: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ToHub)
_TO_CLIENT: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ToClient)


class Malformed(ValueError):  # noqa: N818  # says what happened
    """Bytes that are no frame."""


def encode(frame: Frame) -> bytes:
    """Write a frame."""
    return _ENCODER.encode(frame)


def decode_to_hub(data: bytes | memoryview) -> ToHub:
    """Read a client's frame. Raises Malformed, whatever the bytes are."""
    return _decode(_TO_HUB, data)  # type: ignore[no-any-return]  # a Decoder of a union is untyped


def decode_to_client(data: bytes | memoryview) -> ToClient:
    """Read a hub's frame. Raises Malformed."""
    return _decode(_TO_CLIENT, data)  # type: ignore[no-any-return]  # a Decoder of a union is untyped


def _decode(decoder: msgspec.msgpack.Decoder[Any], data: bytes | memoryview) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as exc:
        raise Malformed(str(exc)) from exc
