"""Anything of ours may die, stand still or starve, in any order: the networks carry on, and all comes back.

A dozen seeds here; `scripts/faults` runs any number, or one that failed once more.
"""

from __future__ import annotations

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
COUNT = int(os.environ.get("NSVISOR_FAULTS", "12"))


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System() as made:
        yield made
        counts = f"{made.signals} signals, {made.packets} packets, none lost; nsvisord ended by itself: {made.deaths}"
        print(f"{COUNT} schedules, {counts}")


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_no_fault_costs_a_packet_and_all_comes_back(system: System, seed: int) -> None:
    steps = schedule(seed, {name: weight for name, (_, weight) in FAULTS.items()}, tuple(STEADY))
    print(f"seed {seed}: {'; '.join(map(str, steps))}")
    before, inodes = system.state(), {name: system.rig.inode(name) for name in STEADY}
    flows = system.begin()
    for step in steps:
        FAULTS[step.fault][0](system, step.instance)
        time.sleep(step.pause)  # no waiting: a part of the schedule
    system.settle()
    system.end(flows)
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
