"""Waiting for a condition with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_INTERVAL = 0.01  # seconds between two looks; a test that waits needs no better resolution


def wait_until(condition: Callable[[], T | None], timeout: float = 5.0, what: str = "") -> T:
    """Return the first true value of `condition`.

    Raises AssertionError with the last value after `timeout` seconds. The condition's own AssertionErrors count as
    "not yet", so that it may itself assert.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            value, failure = condition(), None
        except AssertionError as exc:
            value, failure = None, exc
        if value:
            return value
        if time.monotonic() > deadline:
            last = failure or f"the last value was {value!r}"
            raise AssertionError(f"{what or 'the condition'}: not within {timeout:g} s; {last}") from failure
        time.sleep(POLL_INTERVAL)
