"""Trying something that may fail, such that the task that goes on afterwards is none the worse for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def attempt(work: Coroutine[Any, Any, None]) -> None:
    """Do some work in a task of its own, and raise what it raises. For whoever goes on after a failure.

    Before CPython 3.13 an asyncio.TaskGroup that fails may leave its task marked as cancelled, which the next
    asyncio.timeout in it ends then, without a word; and it hides a cancellation behind errors of the same moment
    (python/cpython#116720). Here the mark stays with the attempt, and a cancellation is obeyed. Raises RuntimeError
    when the work ended as cancelled though nobody meant this task.
    """
    task = asyncio.current_task()
    assert task is not None, "called in a task"
    try:
        await asyncio.create_task(work)
    except asyncio.CancelledError as exc:
        if task.cancelling():
            raise
        raise RuntimeError("the work was cancelled by itself") from exc
    except Exception:
        if task.cancelling():
            raise asyncio.CancelledError from None
        raise
