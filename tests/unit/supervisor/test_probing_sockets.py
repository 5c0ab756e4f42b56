"""Waiting for an answer with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from supervisor.probing.sockets import read_until

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    own, other = socket.socketpair()
    with own, other:
        own.setblocking(False)
        yield own, other


def test_an_answer_that_came_while_the_daemon_stood_still_counts(pair: Pair) -> None:
    own, other = pair

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 0.05
        waiting = asyncio.create_task(read_until(own, deadline, "no answer", lambda: own.recv(9) == b"answer"))
        await asyncio.sleep(0)
        other.send(b"answer")
        while loop.time() <= deadline:  # nobody else has a turn
            pass
        await waiting

    asyncio.run(scenario())


def test_what_is_no_answer_is_passed_over_and_silence_has_its_words(pair: Pair) -> None:
    own, other = pair

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(100):
            other.send(b"noise")
        with pytest.raises(TimeoutError, match="no answer"):
            await read_until(own, loop.time() + 0.05, "no answer", lambda: own.recv(5) == b"answer")
        with pytest.raises(BlockingIOError):
            own.recv(1)

    asyncio.run(scenario())


def test_a_wait_that_is_cancelled_leaves_nothing_at_the_loop(pair: Pair) -> None:
    own, _ = pair

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(read_until(own, loop.time() + 3600, "no answer", lambda: bool(own.recv(1))))
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert not loop.remove_reader(own)

    asyncio.run(scenario())
