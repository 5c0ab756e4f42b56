"""Streams: numbered records, bounded, and every loss told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import pubsub
from pubsub.topics import TableStatus
from tests.functional.pubsub.notes import Note
from tests.functional.pubsub.processes import Actor, Hub
from tests.functional.pubsub.test_tables import on_bus

Start = Callable[..., Actor]
Got = list[tuple[int, str] | str]


async def take(follower: pubsub.Follower[Note], count: int) -> Got:
    """Take the next things: (number, text), or what was lost."""
    found: Got = []
    for _ in range(count):
        match await anext(follower):
            case pubsub.Record(number=number, value=value):
                found.append((number, value.text))
            case pubsub.Lost(count=lost):
                found.append(f"{lost} lost")
    return found


def test_a_reader_gets_the_last_records_and_then_each_new_one(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        stream = await bus.open_stream(Note, keep=5)
        for number in range(1, 9):
            stream.append(Note(text=str(number)))
        await stream.flush()
        follower = bus.follow(Note, agent="writer", last=2)
        assert await take(follower, 2) == [(7, "7"), (8, "8")]
        stream.append(Note(text="9"))
        assert await take(follower, 1) == [(9, "9")]
        everything = bus.follow(Note, agent="writer", last=1000)
        assert await take(everything, 5) == [(n, str(n)) for n in range(5, 10)]

    on_bus(hub, body)


def test_a_follower_may_come_before_the_stream(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        follower = bus.follow(Note, agent="writer")
        stream = await bus.open_stream(Note)
        stream.append(Note(text="first"))
        assert await take(follower, 1) == [(1, "first")]

    on_bus(hub, body)


def test_numbers_go_on_over_restarts_of_hub_and_writer_and_nothing_is_told_twice(hub: Hub, actor: Start) -> None:
    async def body(bus: pubsub.Bus) -> None:
        follower = bus.follow(Note, agent="flows")
        for round_ in range(3):
            writer = actor("flows")
            writer.ask("open_stream", keep=100)
            writer.ask("append", texts=[f"{round_}-{n}" for n in range(3)])
            first = round_ * 5
            assert await take(follower, 3) == [(first + 1 + n, f"{round_}-{n}") for n in range(3)]
            await asyncio.to_thread(hub.kill)
            writer.ask("append", texts=["away"])
            hub.start()
            assert await take(follower, 1) == [(first + 4, "away")]
            writer.ask("append", texts=["back"])
            assert await take(follower, 1) == [(first + 5, "back")]
            writer.close()

    on_bus(hub, body)


def test_what_a_writer_could_not_hold_while_the_hub_was_away_is_told_as_lost(hub: Hub, actor: Start) -> None:
    async def body(bus: pubsub.Bus) -> None:
        writer = actor("flows")
        writer.ask("open_stream", keep=10)
        writer.ask("append", texts=["1"])
        follower = bus.follow(Note, agent="flows")
        assert await take(follower, 1) == [(1, "1")]
        await asyncio.to_thread(hub.kill)
        writer.ask("append", texts=[str(n) for n in range(2, 52)])
        hub.start()
        assert await take(follower, 2) == ["40 lost", (42, "42")]

    on_bus(hub, body)


def test_what_a_slow_reader_missed_is_told_to_it_and_counted(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        stream = await bus.open_stream(Note, keep=20)
        follower = bus.follow(Note, agent="writer")
        stream.append(Note(text="first"))
        assert await take(follower, 1) == [(1, "first")]
        follower.begin = lambda handle: setattr(follower, "handle", handle)  # type: ignore[method-assign]
        bus.answer(pubsub.wire.Cancel(follower.handle))
        for number in range(100):
            stream.append(Note(text=str(number)))
            await stream.flush()
        del follower.begin
        bus.begin(follower)
        assert await take(follower, 2) == ["80 lost", (82, "80")]

    on_bus(hub, body)


def test_a_stream_has_one_writer(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        stream = await bus.open_stream(Note)
        with pytest.raises(pubsub.TableTaken):
            await bus.open_stream(Note)
        with pytest.raises(pubsub.BadName, match="is a stream"):
            await bus.publish(Note)
        await stream.release()
        await bus.open_stream(Note)

    on_bus(hub, body)


def test_the_status_says_that_it_is_a_stream(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        stream = await bus.open_stream(Note, keep=2)
        for text in "abc":
            stream.append(Note(text=text))
        async for change in bus.subscribe(TableStatus, agent="hub"):
            if isinstance(change, pubsub.Created | pubsub.Modified) and change.value.sequence == 3:
                assert change.value.stream
                assert change.value.keys == 2
                break

    on_bus(hub, body)
