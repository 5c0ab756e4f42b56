"""Waiting for a condition with a deadline.

Deadlines of tests only end what hangs: a slow machine is no failure. How long something takes is nobody's assertion.
"""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Seconds after which something hangs; the slowest machine known needs a tenth of that. An emulated one sets another.
DEADLINE = float(os.environ.get("NSVISOR_TEST_DEADLINE", "60"))
POLL_INTERVAL = DEADLINE / 6000  # seconds between two looks, 0.01: a test that waits needs no better resolution


def wait_until(condition: Callable[[], T | None], timeout: float = DEADLINE, what: str = "") -> T:
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
