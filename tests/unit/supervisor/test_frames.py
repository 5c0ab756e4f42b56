"""The command socket's frames: what is whole is read, what is torn is an error."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Any

import msgpack  # type: ignore[import-untyped,unused-ignore]  # ships no types
import pytest

from supervisor.control import LIMIT, frame, read_request, receive_all

REQUEST = {"do": "plan", "instances": {"red": {"subnet": "10.1.0.0/24"}}}


def read(data: bytes, *, fds: tuple[int, ...] = (), end: bool = True) -> tuple[dict[str, Any], list[int]]:
    """Send bytes as a client does, and return what the server reads."""
    ours, theirs = socket.socketpair()
    received: list[int] = []
    with ours, theirs:
        if data:
            socket.send_fds(ours, [data[:4]], list(fds))
            ours.sendall(data[4:])
        if end:
            ours.shutdown(socket.SHUT_WR)
        return asyncio.run(read_request(theirs, received)), received


def test_a_request_is_read_as_it_was_sent() -> None:
    assert read(frame(REQUEST), end=False) == (REQUEST, [])


def test_a_long_request_is_read_whole() -> None:
    long = {"do": "x", "text": "y" * 100_000}
    assert read(frame(long))[0] == long


def test_descriptors_come_with_it() -> None:
    reader, writer = os.pipe()
    try:
        _, (received,) = read(frame(REQUEST), fds=(writer,))
        os.write(received, b"through")
        assert os.read(reader, 10) == b"through"
        os.close(received)
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (b"", EOFError, "ended"),
        (b"\0\0", ValueError, "torn length"),
        (frame(REQUEST)[:-1], EOFError, "ended"),
        (struct.pack(">I", LIMIT + 1), ValueError, "at most"),
        (struct.pack(">I", 1) + b"\xc1", msgpack.UnpackException, "^$"),
        (struct.pack(">I", 1) + msgpack.packb(7), TypeError, "a request is a map"),
    ],
)
def test_a_bad_request_is_an_error(data: bytes, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        read(data)


def test_the_answer_is_read_whole_or_not_at_all() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"abc")
        assert receive_all(theirs, 3) == b"abc"
        ours.sendall(b"ab")
        ours.close()
        with pytest.raises(EOFError):
            receive_all(theirs, 3)
