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
MESSAGES = 100  # a second
KNOCKS = 500  # of each who knocks
GRANTS = {
    str(uid): {"publish": [f"nsmanager/{name}/*"], "messages": MESSAGES, "bytes": 1 << 20}
    for uid, name in ((RED, "red"), (BLUE, "blue"))
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


def wait_use(reader: Actor, uid: int, what: str, least: int) -> None:
    """Return when the hub has told so much of a uid."""

    def told() -> bool:
        uses: dict[str, Any] = reader.ask("uses")
        return str(uid) in uses and uses[str(uid)][what] >= least

    wait_until(told, what=f"the hub tells of {what}")


def test_the_last_value_arrives_when_messages_before_it_were_dropped(reader: Actor, actor: Start) -> None:
    red, blue = manager(actor, RED, "red"), manager(actor, BLUE, "blue")
    stays = {f"stays-{number}": str(number) for number in range(10)}
    red.ask("replace", scope="red", values={**stays, "state": "new"})
    for number in range(8 * MESSAGES):
        red.ask("set", scope="red", key="state", text=str(number))
        if number == 4 * MESSAGES:
            red.ask("del", scope="red", key="stays-0")
            blue.ask("set", scope="blue", key="state", text="calm")
            blue.ask("flush", scope="blue")
            sees(reader, {"state": "calm"}, name="nsmanager/blue/Note")
    stays.pop("stays-0")
    sees(reader, {**stays, "state": str(8 * MESSAGES - 1)}, name="nsmanager/red/Note")
    red.ask("flush", scope="red")
    wait_use(reader, RED, "dropped", 1)
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
    wait_use(reader, RED, "shut_out", 1)
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
