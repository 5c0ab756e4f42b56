"""A hub for each test, and client processes that end with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.pubsub.processes import Actor, Hub


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    """A running hub."""
    with contextlib.closing(Hub(folder)) as running:
        yield running


@pytest.fixture
def actor(hub: Hub) -> Iterator[Callable[..., Actor]]:
    """Return a function that starts a client process: `actor(agent, uid=0)`."""
    with contextlib.ExitStack() as stack:

        def start(agent: str, uid: int = 0) -> Actor:
            return stack.enter_context(Actor(hub.run_dir, agent, uid=uid))

        yield start
