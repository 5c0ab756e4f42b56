"""What a part of nsvisord meets ends its try, and nothing else."""

from __future__ import annotations

import asyncio
import errno
import logging
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from supervisor import endurance
from supervisor.endurance import endure, spared
from supervisor.ledger import Ledger

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endurance, "PAUSE", 0.0)


@pytest.mark.parametrize(
    "failure", [FULL, ValueError("a defect"), MemoryError(), ExceptionGroup("of a group", [FULL, KeyError("x")])]
)
def test_work_that_fails_begins_anew(failure: Exception) -> None:
    tries = []

    async def work() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise failure

    asyncio.run(endure("work", work))
    assert len(tries) == 3


def test_who_is_cancelled_begins_nothing_anew() -> None:
    async def run() -> None:
        begun = asyncio.Event()

        async def work() -> None:
            assert not begun.is_set()
            begun.set()
            await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(endure("work", work))
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(run())


def test_who_is_cancelled_while_its_work_fails_begins_nothing_anew() -> None:
    async def run() -> None:
        begun, tries = asyncio.Event(), []

        async def work() -> None:
            tries.append(1)
            begun.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                raise FULL

        task = asyncio.create_task(endure("work", work))
        await begun.wait()
        task.cancel()
        await asyncio.wait([task], timeout=1)
        assert task.cancelled()
        assert tries == [1]

    asyncio.run(run())


def test_the_hosts_trouble_is_one_line_and_a_defect_has_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        with spared("logs"):
            raise FULL
        with spared("logs"):
            raise KeyError("x")
        with spared("its end"):
            raise TimeoutError
    assert [bool(record.exc_info) for record in caplog.records] == [False, True, False]
    assert "its end: TimeoutError; trying again" in caplog.text
    assert "logs: [Errno 28] No space left on device; trying again" in caplog.text


def test_what_the_ledger_cannot_write_is_given_to_nobody_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    ledger = Ledger(folder)
    assert ledger.admit(["red"], 1000) == {}
    assert not ledger.trouble
    folder.rename(tmp_path / "gone")
    refused = ledger.admit(["red", "blue"], 1000)
    assert list(refused) == ["blue"]
    assert "ledger.json" in refused["blue"]
    assert "No such file" in refused["blue"]
    assert ledger.trouble == refused["blue"]
    assert ledger.subnets(["red"], IPv4Network("10.0.0.0/8"), [])[1] == {"red": ledger.trouble}
    with pytest.raises(OSError, match=r"ledger\.json"):
        ledger.forget("red")
    ledger.keep("found", 7)  # it runs, written down or not
    assert ledger.entries["found"].slot == 7
    (tmp_path / "gone").rename(folder)
    assert ledger.admit(["blue"], 1000) == {}
    assert not ledger.trouble
    assert Ledger(folder).entries.keys() == {"red", "found", "blue"}
