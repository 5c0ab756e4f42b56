"""Who sends more than it may loses no last value, and costs the others nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pubsub.hub_rates import SHUT_OUT
from tests.functional.pubsub.actor import SPAM_LIMIT
from tests.functional.pubsub.processes import STRANGER, Actor, Hub
from tests.functional.pubsub.test_restarts import sees
from tests.hosts.waiting import DEADLINE, wait_until

Start = Callable[..., Actor]
RED, BLUE = STRANGER + 1, STRANGER + 2
MESSAGES = 100  # a second, of blue
SOME, MANY = 50, 200  # messages: that red may send a second, that it does in less than one
KNOCKS = 500  # of each who knocks
GRANTS = {
    str(uid): {"publish": [f"nsmanager/{name}/*"], "messages": messages, "bytes": 1 << 20}
    for uid, name, messages in ((RED, "red", SOME), (BLUE, "blue", MESSAGES))
}


@pytest.fixture
def reader(actor: Start) -> Actor:
    """The supervisor, which has granted, and reads what both managers say."""
    found = actor("supervisor")
    found.ask("grant", grants=GRANTS)
    for scope in ("red", "blue"):
        found.ask("subscribe", agent="nsmanager", scope=scope)
    return found


def manager(actor: Start, uid: int, name: str) -> Actor:
    made = actor("nsmanager", uid)
    made.ask("publish", scope=name, initial={"state": "new"})
    return made


def told_of(reader: Actor, uid: int, what: str) -> int:
    """Return how much the hub tells of a uid."""
    uses: dict[str, Any] = reader.ask("uses")
    return int(uses.get(str(uid), {}).get(what, 0))


def test_the_last_value_arrives_when_messages_before_it_were_dropped(reader: Actor, actor: Start) -> None:
    red, blue = manager(actor, RED, "red"), manager(actor, BLUE, "blue")
    stays = {f"stays-{number}": str(number) for number in range(10)}
    red.ask("replace", scope="red", values={**stays, "state": "new"})
    last = 0

    def dropped() -> bool:
        nonlocal last
        red.ask("count", scope="red", key="state", first=last + 1, last=last + MANY)
        last += MANY
        return told_of(reader, RED, "dropped") > 0

    wait_until(dropped, what="the hub drops some")
    red.ask("del", scope="red", key="stays-0")
    stays.pop("stays-0")
    blue.ask("set", scope="blue", key="state", text="calm")
    blue.ask("flush", scope="blue")
    sees(reader, {"state": "calm"}, name="nsmanager/blue/Note")
    red.ask("count", scope="red", key="state", first=last + 1, last=last + MANY)
    sees(reader, {**stays, "state": str(last + MANY)}, name="nsmanager/red/Note")
    red.ask("flush", scope="red")
    assert "Stale" not in reader.ask("events"), "nobody was taken for dead"


def test_a_flood_is_shut_out_and_the_others_go_on(hub: Hub, reader: Actor, actor: Start) -> None:
    red, blue = manager(actor, RED, "red"), manager(actor, BLUE, "blue")
    flooder = actor("nsmanager", RED)
    flooder.tell("spam", path=str(hub.run_dir / "bus/hub.sock"))
    for number in range(MESSAGES):
        blue.ask("set", scope="blue", key="state", text=str(number))
        blue.ask("flush", scope="blue")
    sees(reader, {"state": str(MESSAGES - 1)}, name="nsmanager/blue/Note")
    assert 0 < flooder.answer() < SPAM_LIMIT, "the hub hung up"
    red.ask("set", scope="red", key="state", text="last")
    sees(reader, {"state": "last"}, name="nsmanager/red/Note", timeout=DEADLINE + SHUT_OUT)
    wait_until(lambda: told_of(reader, RED, "shut_out"), what="the hub tells of shut_out")
    assert str(BLUE) not in {uid for uid, use in reader.ask("uses").items() if use["dropped"]}


def test_who_knocks_for_ever_stops_nobody(hub: Hub, reader: Actor, actor: Start) -> None:
    blue = manager(actor, BLUE, "blue")
    knockers = [actor("nsmanager", RED) for _ in range(3)]
    for one in knockers:
        one.tell("knock", path=str(hub.run_dir / "bus/hub.sock"), count=KNOCKS)
    for number in range(MESSAGES):
        blue.ask("set", scope="blue", key="state", text=str(number))
        blue.ask("flush", scope="blue")
    sees(reader, {"state": str(MESSAGES - 1)}, name="nsmanager/blue/Note")
    assert [one.answer() for one in knockers] == [0, 0, 0]
    red = manager(actor, RED, "red")
    red.ask("flush", scope="red")
