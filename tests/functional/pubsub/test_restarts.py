"""The hub, writers and readers die and come back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.functional.pubsub.processes import Actor, Hub
from tests.hosts.waiting import DEADLINE, wait_until

Start = Callable[..., Actor]


def sees(reader: Actor, table: dict[str, str], name: str = "writer/Note", timeout: float = DEADLINE) -> None:
    """Wait until the reader's table is this one."""

    def equal() -> bool:
        seen = reader.ask("seen").get(name, {})
        assert seen == table, f"{short(seen)} is not {short(table)}"
        return True

    wait_until(equal, timeout, f"the reader sees {short(table)}")


def short(table: dict[str, str]) -> dict[str, str]:
    """Cut long texts, for a message."""
    return {key: text if len(text) < 20 else f"{text[:5]}…{len(text)}" for key, text in table.items()}


def events(reader: Actor, *names: str) -> None:
    """Wait until the reader was told all these."""
    wait_until(lambda: set(names) <= set(reader.ask("events")), what=str(names))


def test_a_killed_hub_is_healed_by_its_clients(hub: Hub, actor: Start) -> None:
    writer, reader = actor("writer"), actor("reader")
    writer.ask("publish", initial={"a": "1", "b": "2"})
    reader.ask("subscribe", agent="writer")
    sees(reader, {"a": "1", "b": "2"})
    hub.kill()
    writer.ask("set", key="a", text="3")
    writer.ask("del", key="b")
    hub.start()
    sees(reader, {"a": "3"})
    assert "Restarted" not in reader.ask("events")  # the writer is the same


def test_the_hubs_restart_alone_changes_nothing_for_a_reader(hub: Hub, actor: Start) -> None:
    writer, reader = actor("writer"), actor("reader")
    writer.ask("publish", initial={"a": "1", "b": "2"})
    reader.ask("subscribe", agent="writer")
    sees(reader, {"a": "1", "b": "2"})
    hub.restart()
    writer.ask("flush")
    wait_until(lambda: reader.ask("events").count("Synchronized") == 2)
    assert reader.ask("events") == ["Created", "Created", "Synchronized", "Synchronized"]


def test_a_killed_writers_table_is_kept_and_its_readers_are_told(actor: Start) -> None:
    writer, reader = actor("writer"), actor("reader")
    writer.ask("publish", initial={"a": "1"})
    reader.ask("subscribe", agent="writer")
    sees(reader, {"a": "1"})
    writer.kill()
    events(reader, "Stale")
    assert reader.ask("table", agent="writer") == {"a": "1"}


def test_a_dead_writers_table_outlives_the_hub(hub: Hub, actor: Start) -> None:
    writer = actor("writer")
    writer.ask("publish", initial={"a": "1"})
    writer.kill()
    hub.restart()
    reader = actor("reader")
    assert reader.ask("table", agent="writer") == {"a": "1"}
    reader.ask("subscribe", agent="writer")
    events(reader, "Stale", "Synchronized")


def test_a_writer_that_dies_while_the_hub_is_down_is_stale_at_once(hub: Hub, actor: Start) -> None:
    writer, reader = actor("writer"), actor("reader")
    writer.ask("publish", initial={"a": "1"})
    reader.ask("subscribe", agent="writer")
    sees(reader, {"a": "1"})
    hub.kill()
    writer.kill()
    hub.start()
    events(reader, "Stale")
    second = actor("writer")
    second.ask("publish", initial={"a": "2"})
    sees(reader, {"a": "2"})
    events(reader, "Restarted")


def test_a_writer_that_was_taken_for_gone_and_is_back_is_told(hub: Hub, actor: Start) -> None:
    """It stood still while the hub started anew, for longer than its tables wait for it."""
    writer, reader = actor("writer"), actor("reader")
    writer.ask("publish", initial={"a": "1"})
    reader.ask("subscribe", agent="writer")
    sees(reader, {"a": "1"})
    os.kill(writer.process.pid, signal.SIGSTOP)
    hub.restart()
    events(reader, "Stale")
    assert "Restarted" not in reader.ask("events")
    os.kill(writer.process.pid, signal.SIGCONT)
    events(reader, "Restarted")


def test_keys_withdrawn_while_the_writer_was_away_are_gone_after_it_is_back(actor: Start) -> None:
    writer, reader = actor("writer"), actor("reader")
    writer.ask("publish", initial={"a": "1", "b": "2"})
    reader.ask("subscribe", agent="writer")
    sees(reader, {"a": "1", "b": "2"})
    writer.kill()
    actor("writer").ask("publish", initial={"b": "2", "c": "3"})
    sees(reader, {"b": "2", "c": "3"})
    assert reader.ask("events").count("Created") == 3  # b was not told again


def test_a_new_writer_is_told_as_restarted_and_takes_the_table_at_once(actor: Start) -> None:
    writer, reader = actor("writer"), actor("reader")
    writer.ask("publish", initial={"a": "1"})
    reader.ask("subscribe", agent="writer")
    sees(reader, {"a": "1"})
    for text in ("2", "3"):
        writer.kill()
        writer = actor("writer")
        writer.ask("publish", initial={"a": text})
        sees(reader, {"a": text})
    wait_until(lambda: reader.ask("events").count("Restarted") == 2)


def test_a_polite_end_gives_the_table_up_at_once(actor: Start) -> None:
    writer = actor("writer")
    writer.ask("publish", initial={"a": "1"})
    writer.ask("set", key="a", text="2")
    writer.close()
    with_next = actor("writer")
    assert with_next.ask("table", agent="writer") == {"a": "2"}
    with_next.ask("publish")


def test_a_table_released_while_the_hub_is_down_is_free_after_it(hub: Hub, actor: Start) -> None:
    writer, other = actor("writer"), actor("writer")
    writer.ask("publish", initial={"a": "1"})
    hub.kill()
    writer.tell("release")
    hub.start()
    writer.answer()
    writer.ask("table", agent="nobody")  # it is connected again: until then the hub waits for it
    other.ask("publish")


def test_a_stopped_writer_keeps_its_table(hub: Hub, actor: Start) -> None:
    writer, other = actor("writer"), actor("writer")
    writer.ask("publish", initial={"a": "1"})
    other.ask("table", agent="nobody")  # it runs: the table waits for its writer three seconds only
    writer.process.send_signal(signal.SIGSTOP)
    hub.restart()
    with pytest.raises(Exception, match="TableTaken"):
        other.ask("publish")
    writer.process.send_signal(signal.SIGCONT)
    writer.ask("set", key="a", text="2")
    writer.ask("flush")
    assert other.ask("table", agent="writer") == {"a": "2"}


def test_sigterm_ends_the_hub_with_status_0(hub: Hub, actor: Start) -> None:
    actor("writer").ask("publish")
    assert hub.end() == 0


def test_a_second_hub_is_refused_and_names_the_first(hub: Hub, actor: Start) -> None:
    actor("writer").ask("publish")
    first, hub.process = hub.process, None
    hub.start()
    assert hub.process is not None
    assert hub.process.wait(DEADLINE) == 1
    hub.process = first
    assert f"pid {hub.pid}" in hub.log.read_text()
    actor("reader").ask("table", agent="writer")
