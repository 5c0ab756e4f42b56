"""Who may do what: the kernel says who a peer is, the supervisor's grants what it may."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pubsub.limits import CONNECTIONS_LIMIT, MIB
from tests.functional.pubsub.actor import FLOOD_LIMIT
from tests.functional.pubsub.processes import STRANGER, Actor, ActorFailed, Hub
from tests.hosts.waiting import wait_until

Start = Callable[..., Actor]
RED, BLUE = STRANGER + 1, STRANGER + 2
PEAK_LIMIT = 2048 * MIB  # what a flood may reach until the hub looks again; a quarter of FLOOD_LIMIT
GRANT = {"publish": ["nsmanager/red/*"], "subscribe": ["supervisor/red/Note"]}


@pytest.fixture
def supervisor(actor: Start) -> Actor:
    """The one who grants."""
    found = actor("supervisor")
    found.ask("grant", grants={str(RED): GRANT})
    return found


def refused(actor: Actor, do: str, **arguments: object) -> str:
    """Have something done that the bus refuses; return the error's name."""
    with pytest.raises(ActorFailed) as failure:
        actor.ask(do, **arguments)
    return failure.value.error


def test_a_granted_uid_may_do_what_is_granted_and_nothing_else(supervisor: Actor, actor: Start) -> None:
    supervisor.ask("publish", scope="red", initial={"red": "1"})
    supervisor.ask("publish", scope="blue", initial={"blue": "secret"})
    manager = actor("nsmanager", RED)
    manager.ask("publish", scope="red", initial={"red": "ready"})
    assert manager.ask("table", agent="supervisor", scope="red") == {"red": "1"}
    assert supervisor.ask("table", agent="nsmanager", scope="*") == {"red": "ready"}
    assert refused(manager, "publish", scope="blue") == "Denied"
    assert refused(manager, "publish") == "Denied"
    assert refused(manager, "table", agent="supervisor", scope="blue") == "Denied"
    assert refused(manager, "table", agent="supervisor", scope="*") == "Denied"
    assert refused(manager, "table", agent="nsmanager", scope="red") == "Denied"
    assert refused(manager, "statuses") == "Denied"
    assert refused(manager, "grant", grants={str(RED): {"publish": ["*/*"]}}) == "Denied"


def test_an_agents_name_gives_no_right(supervisor: Actor, actor: Start) -> None:  # noqa: ARG001  # grants
    impostor = actor("supervisor", RED)
    assert refused(impostor, "publish", scope="blue") == "Denied"


def test_a_uid_without_any_grant_is_refused_before_it_can_say_anything(
    supervisor: Actor,  # noqa: ARG001  # grants, to others
    actor: Start,
) -> None:
    stranger = actor("nsmanager", BLUE)
    with pytest.raises(ActorFailed, match="Denied"):
        stranger.answer()


def test_a_grant_that_comes_late_lets_the_client_in(supervisor: Actor, actor: Start) -> None:
    manager = actor("nsmanager", BLUE)
    manager.tell("publish", scope="blue")
    wait_until(lambda: manager.process.poll() is None)
    supervisor.ask("grant", grants={str(RED): GRANT, str(BLUE): {"publish": ["nsmanager/blue/*"]}})
    assert manager.answer() is None


def test_a_grant_that_is_withdrawn_ends_what_it_allowed(supervisor: Actor, actor: Start) -> None:
    supervisor.ask("publish", scope="red", initial={"red": "1"})
    manager = actor("nsmanager", RED)
    manager.ask("publish", scope="red", initial={"red": "ready"})
    supervisor.ask("grant", grants={})
    supervisor.ask("table", agent="nsmanager", scope="red")
    assert refused(manager, "flush", scope="red") == "Denied"
    assert refused(manager, "table", agent="supervisor", scope="red") == "Denied"
    supervisor.ask("set", scope="red", key="red", text="2")


def test_grants_outlive_hub_and_supervisor(hub: Hub, supervisor: Actor, actor: Start) -> None:
    manager = actor("nsmanager", RED)
    manager.ask("publish", scope="red", initial={"red": "ready"})
    supervisor.kill()
    hub.restart()
    manager.ask("set", scope="red", key="red", text="still")
    manager.ask("flush", scope="red")
    assert actor("other").ask("table", agent="nsmanager", scope="red") == {"red": "still"}


def test_the_hub_runs_unprivileged_when_told_a_uid(folder: Path) -> None:
    with contextlib.closing(Hub(folder, uid=STRANGER)) as other, Actor(other.run_dir, "writer") as writer:
        writer.ask("publish", persistent=True)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{other.pid}/status").read_text().splitlines())
    assert status["Uid"].split() == [str(STRANGER)] * 4
    assert status["Gid"].split() == [str(STRANGER)] * 4
    assert not status["Groups"].strip()
    assert int(status["CapEff"], 16) == 0
    assert int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_one_uids_connections_are_bounded_and_cost_nobody_else_his(hub: Hub, supervisor: Actor, actor: Start) -> None:
    supervisor.ask("grant", grants={str(RED): GRANT, str(BLUE): {"publish": ["nsmanager/blue/*"]}})
    red = actor("nsmanager", RED)
    red.ask("publish", scope="red")
    blue = actor("nsmanager", BLUE)
    blue.ask("publish", scope="blue")
    opened = blue.ask("connect_often", path=str(hub.run_dir / "bus" / "hub.sock"), count=200, limit=CONNECTIONS_LIMIT)
    assert opened < CONNECTIONS_LIMIT
    red.ask("set", scope="red", key="red", text="1")
    red.ask("flush", scope="red")


def test_a_message_that_never_ends_fills_no_memory_and_costs_only_its_sender(
    hub: Hub, supervisor: Actor, actor: Start
) -> None:
    supervisor.ask("grant", grants={str(RED): GRANT, str(BLUE): {"publish": ["nsmanager/blue/*"]}})
    red = actor("nsmanager", RED)
    red.ask("publish", scope="red")
    blue = actor("nsmanager", BLUE)
    blue.ask("publish", scope="blue")
    pid = hub.pid
    assert blue.ask("flood", path=str(hub.run_dir / "bus" / "hub.sock")) < FLOOD_LIMIT
    assert hub.peak_memory() < PEAK_LIMIT
    wait_until(lambda: hub.memory() < 200 * MIB)
    red.ask("set", scope="red", key="red", text="1")
    red.ask("flush", scope="red")
    assert hub.pid == pid
    wait_until(lambda: f"ended the connections of uid [{BLUE}]" in hub.log.read_text(), what="the hub's words")
