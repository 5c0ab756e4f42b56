"""What a manager that was taken over would try on the bus: it runs in place of a manager's main."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pubsub
from pubsub.topics import BusGrant, NamespaceConfig, NamespaceStatus, NetworkInstanceStatus

PATIENCE = 60.0  # seconds for the hub's answer


def main(name: str, run_dir: str, _state_dir: str) -> None:
    """Try all; write `outcome.json` in the instance's folder: what came of each."""
    outcome = asyncio.run(try_all(name, Path(run_dir)))
    Path(run_dir, "instances", name, "outcome.json").write_text(json.dumps(outcome))


async def try_all(own: str, run_dir: Path) -> dict[str, str]:
    other = "blue"
    async with pubsub.connect(run_dir, agent="nsmanager") as bus, pubsub.connect(run_dir, agent="supervisor") as false:
        tries: dict[str, Callable[[], Awaitable[object]]] = {
            "publish_its_own_status": lambda: bus.publish(NamespaceStatus, scope=own),
            "read_its_own_config": lambda: bus.table(NamespaceConfig, agent="supervisor", scope=own),
            "publish_the_status_of_another": lambda: bus.publish(NamespaceStatus, scope=other),
            "read_the_config_of_another": lambda: bus.table(NamespaceConfig, agent="supervisor", scope=other),
            "read_the_configs_of_all": lambda: bus.table(NamespaceConfig, agent="supervisor", scope="*"),
            "read_the_status_of_another": lambda: bus.table(NamespaceStatus, agent="nsmanager", scope=other),
            "read_what_is_granted": lambda: bus.table(BusGrant, agent="supervisor"),
            "read_all_instances": lambda: bus.table(NetworkInstanceStatus, agent="supervisor"),
            "publish_the_config_of_another_as_the_supervisor": lambda: false.publish(NamespaceConfig, scope=other),
            "publish_its_own_config_as_the_supervisor": lambda: false.publish(NamespaceConfig, scope=own),
            "grant_itself_everything_as_the_supervisor": lambda: false.publish(BusGrant),
        }
        found = {name: await outcome(one) for name, one in tries.items()}
    return found | {"hold_the_lock_that_the_next_hub_needs": open_lock(run_dir / "bus/hub.lock")}


def open_lock(path: Path) -> str:
    """Open it; flock(2) asks for no more than that."""
    try:
        with path.open():
            return "worked"
    except PermissionError:
        return "denied"


async def outcome(one: Callable[[], Awaitable[object]]) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            await one()
    except pubsub.Denied:
        return "denied"
    except TimeoutError:
        return "no answer"
    return "worked"
