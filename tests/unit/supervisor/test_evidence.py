"""Crash reports are kept in the order of the deaths, however fast one follows the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

from supervisor.evidence import KEPT_REPORTS, Death, Evidence

PIDS = (9, 12884, 457, 32768, 1)  # in the order of the deaths, of which several are in one second


def test_the_last_deaths_of_one_second_are_kept_in_their_order(tmp_path: Path) -> None:
    async def look(*_: object) -> str:
        return "a namespace that is gone"

    evidence = Evidence(tmp_path, lambda name: tmp_path / f"{name}.log", look)

    async def die() -> None:
        for pid in PIDS:
            await evidence.preserve("red", Death(pid, "killed by SIGKILL", 1.0), None)

    asyncio.run(die())
    kept = [f"manager (pid {pid}) killed by SIGKILL after 1.0 s" for pid in PIDS[-KEPT_REPORTS:]]
    assert [report.how for report in evidence.of("red")] == kept
    again = Evidence(tmp_path, lambda name: tmp_path / f"{name}.log", look)
    assert again.of("red") == evidence.of("red")
