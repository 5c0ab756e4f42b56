"""Waits on the bus until instances are as wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

import pubsub
from pubsub.topics import NetworkInstanceStatus, State
from supervisor.cli.reading import connected

DELETED = "deleted"

Statuses = dict[str, NetworkInstanceStatus]


class Outcome(msgspec.Struct, frozen=True):
    """How a wait ended: the statuses as they were last, and who isn't as wanted."""

    statuses: Statuses
    missing: tuple[str, ...]  # empty: all are as wanted


def wait_until(
    run_dir: Path,
    names: list[str],
    wanted: Callable[[str, NetworkInstanceStatus | None], bool],
    timeout: float,
    hopeless: Callable[[NetworkInstanceStatus], bool] = lambda _: False,
) -> Outcome:
    """Wait until `wanted` holds of each instance, or all others are hopeless, or the time is up."""
    return asyncio.run(_wait_until(run_dir, names, wanted, timeout, hopeless))


async def _wait_until(
    run_dir: Path,
    names: list[str],
    wanted: Callable[[str, NetworkInstanceStatus | None], bool],
    timeout: float,  # noqa: ASYNC109  # the user's
    hopeless: Callable[[NetworkInstanceStatus], bool],
) -> Outcome:
    statuses: Statuses = {}
    missing = set(names)
    synchronized = False
    try:
        async with asyncio.timeout(timeout), connected(run_dir) as bus:
            async for change in bus.subscribe(NetworkInstanceStatus, agent="supervisor"):
                match change:
                    case pubsub.Created(key=name, value=status) | pubsub.Modified(key=name, value=status):
                        statuses[name] = status
                    case pubsub.Deleted(key=name):
                        statuses.pop(name, None)
                    case pubsub.Synchronized():
                        synchronized = True
                        missing = {name for name in names if not wanted(name, statuses.get(name))}
                    case _:
                        continue
                if not synchronized:
                    continue
                if isinstance(change, pubsub.Created | pubsub.Modified | pubsub.Deleted) and change.key in names:
                    (missing.discard if wanted(change.key, statuses.get(change.key)) else missing.add)(change.key)
                if all(name in statuses and hopeless(statuses[name]) for name in missing):
                    break
    except TimeoutError:
        pass
    return Outcome(statuses, tuple(name for name in names if name in missing))


def is_failed(status: NetworkInstanceStatus) -> bool:
    """Tell whether an instance will not become ready by waiting."""
    return status.state is State.FAILED


def tell_missing(name: str, status: NetworkInstanceStatus | None) -> str:
    """Say how an instance stands that isn't as wanted."""
    if status is None:
        return f"instance {name}: doesn't exist"
    reason = f": {status.reason}" if status.reason else ""
    return f"instance {name}: {status.state}{reason}"
