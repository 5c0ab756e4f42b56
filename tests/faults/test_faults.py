"""Anything of ours may die, stand still or starve, in any order: the networks carry on, and all comes back.

A dozen seeds here; `scripts/faults` runs any number, or one that failed once more.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.faults import FAULTS
from tests.faults.schedule import schedule
from tests.faults.system import STEADY, System
from tests.hosts import wait_until

FIRST = int(os.environ.get("NSVISOR_FAULTS_FIRST", "1"))
LOG = 60_000  # characters of nsvisord's log at most that are shown with a failure
COUNT = int(os.environ.get("NSVISOR_FAULTS", "12"))


class Supply:
    """The system under test: one for all schedules, and another after each that failed."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._system: System | None = None

    @contextlib.contextmanager
    def system(self) -> Iterator[System]:
        system = self._system = self._system or self._stack.enter_context(System())
        since = len(system.rig.daemon.log())
        try:
            yield system
        except BaseException:
            print(f"--- nsvisord\n{system.rig.daemon.log()[since:][-LOG:]}")
            for name in STEADY:
                log = system.rig.host.path(system.rig.daemon.run_dir / f"logs/{name}.log")
                print(f"--- manager of {name}\n{log.read_text()[-LOG // 10 :]}")
            self.close()
            raise

    def close(self) -> None:
        """Say what it went through, and end it."""
        if one := self._system:
            counts = f"{one.signals} signals, {one.packets} packets and {one.connections} connections, none lost"
            print(f"{one.played} schedules, {counts}; nsvisord ended by itself: {one.deaths}")
            print(f"KiB of their own, after the first schedule and at most: {one.memory}")
        self._system = None
        self._stack.close()


@pytest.fixture(scope="module")
def supply() -> Iterator[Supply]:
    with contextlib.closing(Supply()) as made:
        yield made


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_no_fault_costs_a_packet_and_all_comes_back(supply: Supply, seed: int) -> None:
    with supply.system() as system:
        play(system, seed)
        system.played += 1


def play(system: System, seed: int) -> None:
    """Play a seed's schedule, and see that nothing was lost and nothing is left. Raises AssertionError."""
    steps = schedule(seed, {name: weight for name, (_, weight) in FAULTS.items()}, tuple(STEADY))
    print(f"seed {seed}: {'; '.join(map(str, steps))}")
    before, inodes = system.state(), {name: system.rig.inode(name) for name in STEADY}
    with system.traffic():
        for step in steps:
            FAULTS[step.fault][0](system, step.instance)
            time.sleep(step.pause)  # no waiting: a part of the schedule
        system.settle()
    assert {name: system.rig.inode(name) for name in STEADY} == inodes, "made anew"

    def as_before() -> bool:
        now = system.state()
        changed = {
            name: (sorted((Counter(now[name]) - had).elements()), sorted((had - Counter(now[name])).elements()))
            for name, had in ((name, Counter(lines)) for name, lines in before.items())
            if Counter(now[name]) != had
        }
        assert not changed, changed
        return True

    wait_until(as_before, what=f"seed {seed}: the state before")
    assert all(count < 100 + 20 * len(STEADY) for count in system.descriptors().values()), system.descriptors()
    system.look_at_memory()
