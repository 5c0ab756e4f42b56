"""Who goes on after a failure is none the worse for it, on every Python that we run on."""

from __future__ import annotations

import asyncio

import pytest

from pubsub.attempt import attempt


async def fail() -> None:
    await asyncio.sleep(0)
    raise OSError("no")


async def fail_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fail())


def test_after_a_group_failed_a_timeout_is_a_timeout() -> None:
    async def run() -> None:
        with pytest.raises(ExceptionGroup) as raised:
            await attempt(fail_in_a_group())
        assert isinstance(raised.value.exceptions[0], OSError)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()

    asyncio.run(run())


def test_who_is_cancelled_while_something_fails_goes_on_no_more() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await fail()

    async def run() -> None:
        task = asyncio.create_task(attempt(stubborn()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it waits
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(run())


def test_an_attempt_ends_with_who_tries() -> None:
    async def run() -> None:
        ended = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        task = asyncio.create_task(attempt(work()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert ended.is_set()

    asyncio.run(run())


def test_work_that_is_cancelled_by_itself_is_a_failure() -> None:
    async def run() -> None:
        with pytest.raises(RuntimeError, match="cancelled by itself"):
            await attempt(cancelled())

    async def cancelled() -> None:
        raise asyncio.CancelledError

    asyncio.run(run())
