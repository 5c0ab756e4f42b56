"""What readers and writers of tables can rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import pubsub
from pubsub.limits import VALUE_LIMIT
from pubsub.topics import Message, TableStatus
from tests.functional.pubsub.notes import Note
from tests.functional.pubsub.processes import Actor, Hub
from tests.hosts.waiting import DEADLINE

Body = Callable[[pubsub.Bus], Awaitable[None]]


def on_bus(hub: Hub, body: Body, agent: str = "writer") -> None:
    """Run a coroutine on the bus."""

    async def run() -> None:
        async with asyncio.timeout(DEADLINE), pubsub.connect(hub.run_dir, agent) as bus:
            await body(bus)

    asyncio.run(run())


async def take(subscription: pubsub.Subscription[Note], count: int) -> list[object]:
    """Take the next changes, without their tables' names."""
    found: list[object] = []
    for _ in range(count):
        match await anext(subscription):
            case pubsub.Created(key=key, value=value):
                found.append(("created", key, value.text))
            case pubsub.Modified(key=key, value=value, old=old):
                found.append(("modified", key, old.text, value.text))
            case pubsub.Deleted(key=key, old=old):
                found.append(("deleted", key, old.text))
            case other:
                found.append(type(other).__name__)
    return found


def test_a_late_subscriber_gets_the_whole_table_then_synchronized_then_every_change(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        table = await bus.publish(Note, initial={"a": Note(text="1"), "b": Note(text="2")})
        reader = bus.subscribe(Note, agent="writer")
        assert await take(reader, 3) == [("created", "a", "1"), ("created", "b", "2"), "Synchronized"]
        table["a"] = Note(text="3")
        assert await take(reader, 1) == [("modified", "a", "1", "3")]
        del table["b"]
        assert await take(reader, 1) == [("deleted", "b", "2")]

    on_bus(hub, body)


def test_a_table_that_nobody_published_is_an_empty_one(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        reader = bus.subscribe(Note, agent="writer")
        assert await take(reader, 1) == ["Synchronized"]
        assert await bus.table(Note, agent="writer") == {}
        table = await bus.publish(Note)
        table["a"] = Note(text="1")
        assert await take(reader, 1) == [("created", "a", "1")]

    on_bus(hub, body)


def test_an_unchanged_value_sends_nothing(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        table = await bus.publish(Note, initial={"a": Note(text="1")})
        sent = table._number
        table["a"] = Note(text="1")
        table.replace({"a": Note(text="1")})
        await table.flush()
        assert table._number == sent
        table["a"] = Note(text="2")
        await table.flush()
        assert table._number == sent + 1

    on_bus(hub, body)


def test_scope_star_follows_the_tables_of_every_scope_also_later_ones(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        await bus.publish(Note, scope="red", initial={"red": Note(text="1")})
        reader = bus.subscribe(Note, agent="writer", scope="*")
        assert await take(reader, 2) == [("created", "red", "1"), "Synchronized"]
        await bus.publish(Note, scope="blue", initial={"blue": Note(text="2")})
        change = await anext(reader)
        assert isinstance(change, pubsub.Created)
        assert (change.scope, change.table, change.key) == ("blue", "writer/blue/Note", "blue")
        assert set(await bus.table(Note, agent="writer", scope="*")) == {"red", "blue"}

    on_bus(hub, body)


def test_a_value_of_one_mebibyte_just_works(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        big = Note(text="x" * (1 << 20))
        table = await bus.publish(Note, initial={"big": big})
        table["small"] = Note(text="1")
        await table.flush()
        assert (await bus.table(Note, agent="writer"))["big"] == big

    on_bus(hub, body)


def test_a_value_over_the_limit_is_an_error_at_its_publisher_and_nowhere_else(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        table = await bus.publish(Note, initial={"a": Note(text="1")})
        reader = bus.subscribe(Note, agent="writer")
        await take(reader, 2)
        with pytest.raises(pubsub.ValueTooLarge):
            table["a"] = Note(text="x" * VALUE_LIMIT)
        with pytest.raises(pubsub.ValueTooLarge):
            table["k" * 2000] = Note()
        assert table["a"] == Note(text="1")
        table["a"] = Note(text="2")
        assert await take(reader, 1) == [("modified", "a", "1", "2")]

    on_bus(hub, body)


def test_a_table_has_one_writer_also_within_one_process(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        table = await bus.publish(Note, initial={"a": Note(text="1")})
        with pytest.raises(pubsub.TableTaken, match="writer"):
            await bus.publish(Note)
        with pytest.raises(pubsub.BadName, match="is a table"):
            await bus.open_stream(Note)
        table["a"] = Note(text="2")
        await table.flush()
        await table.release()
        await bus.publish(Note)

    on_bus(hub, body)


def test_the_second_process_gets_an_error_that_names_the_first(hub: Hub, actor: Callable[..., Actor]) -> None:
    first = actor("writer")
    first.ask("publish")

    async def body(bus: pubsub.Bus) -> None:
        with pytest.raises(pubsub.TableTaken, match=f"pid {first.process.pid}, uid 0"):
            await bus.publish(Note)

    on_bus(hub, body)


def test_the_hubs_own_table_can_be_read_and_not_taken(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        await bus.publish(Note, initial={"a": Note(text="1")}, persistent=True)
        async for change in bus.subscribe(TableStatus, agent="hub"):
            if isinstance(change, pubsub.Created | pubsub.Modified) and change.key == "hub-to-be/Note":
                assert change.value.keys == 1
                assert change.value.persistent
                assert change.value.restarted == 1
                break

    on_bus(hub, body, agent="hub-to-be")

    async def steal(bus: pubsub.Bus) -> None:
        with pytest.raises(pubsub.TableTaken):
            await bus.publish(TableStatus)

    on_bus(hub, steal, agent="hub")


@pytest.mark.parametrize("scope", ["a/b", "..", "x y", "a+b", "é"])
def test_a_name_that_no_table_can_have_is_refused_at_once(hub: Hub, scope: str) -> None:
    async def body(bus: pubsub.Bus) -> None:
        with pytest.raises(pubsub.BadName):
            await bus.publish(Note, scope=scope)

    on_bus(hub, body)


class Other(Message, frozen=True):
    """As a later version might see a Note."""

    text: int = 0


def test_a_value_of_the_wrong_shape_is_skipped_and_does_not_end_its_reader(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        table = await bus.publish(Note, initial={"a": Note(text="1")})
        reader = pubsub.Subscription(Other, "writer/Note", bus)
        bus.begin(reader)
        assert isinstance(await anext(reader), pubsub.Synchronized)
        del table["a"]
        await table.flush()
        assert not reader._told.get("writer/Note")
        reader.close()

    on_bus(hub, body)


def test_a_reader_that_stops_iterating_is_unsubscribed(hub: Hub) -> None:
    async def body(bus: pubsub.Bus) -> None:
        table = await bus.publish(Note)
        async for _ in bus.subscribe(Note, agent="writer"):
            break
        table["a"] = Note(text="1")
        async for change in bus.subscribe(TableStatus, agent="hub"):
            if isinstance(change, pubsub.Created | pubsub.Modified) and change.value.sequence:
                assert change.value.subscribers == 0
                break

    on_bus(hub, body)


def test_what_was_set_last_arrives_though_the_writer_ends_at_once(hub: Hub) -> None:
    async def write(bus: pubsub.Bus) -> None:
        table = await bus.publish(Note)
        for number in range(50):
            table[str(number)] = Note(text="x" * 100_000)

    async def read(bus: pubsub.Bus) -> None:
        assert len(await bus.table(Note, agent="writer")) == 50

    on_bus(hub, write)
    on_bus(hub, read)


def test_a_table_can_be_forgotten_when_its_writer_is_gone_for_good(hub: Hub) -> None:
    async def write(bus: pubsub.Bus) -> None:
        await bus.publish(Note, scope="red", initial={"red": Note(text="1")})

    async def forget(bus: pubsub.Bus) -> None:
        reader = bus.subscribe(Note, agent="writer", scope="*")
        assert set(await take(reader, 3)) == {"Stale", ("created", "red", "1"), "Synchronized"}
        await bus.forget(Note, agent="writer", scope="red")
        changes = await take(reader, 1)
        while ("deleted", "red", "1") not in changes:
            changes += await take(reader, 1)

    on_bus(hub, write)
    on_bus(hub, forget, agent="supervisor")
