"""All that the plans create is deleted, changed and doubled by hand, one thing at a time, and is as planned again.

What can be done is taken from the plans. `scripts/drift` tries all of it; the tests draw a part: of each kind of object
and each kind of change some.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from nsmanager.items.nftables import NftTable
from nsmanager.items.sysctl import Sysctl
from tests.drift.drifts import Drift
from tests.drift.rig import INSTANCES, System
from tests.drift.trial import Trial

pytestmark = pytest.mark.timeout(1800)  # seconds; all drifts take minutes, on a busy machine many
ALL = os.environ.get("NSVISOR_DRIFTS") == "all"
SEED = int(os.environ.get("NSVISOR_DRIFTS_SEED", "1"))
DRAWN = 2  # of each kind of object and of change, in each namespace
DRAWN_SLOW = 1  # where no event tells


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System() as made:
        yield made


def drawn(drifts: list[Drift], name: str) -> list[Drift]:
    """Return some drifts of each kind, in their order; all where that is asked for."""
    if ALL:
        return drifts
    kinds: dict[tuple[str, ...], list[int]] = {}
    for number, drift in enumerate(drifts):
        words = tuple(drift.script.split()[1:3]) if isinstance(drift.item, NftTable) else ()
        kinds.setdefault((type(drift.item).__name__, drift.what, *words), []).append(number)
    dice = random.Random(f"{SEED} {name}")
    chosen: list[int] = []
    for numbers in kinds.values():
        most = DRAWN_SLOW if isinstance(drifts[numbers[0]].item, Sysctl) else DRAWN
        chosen += dice.sample(numbers, min(most, len(numbers)))
    return [drifts[number] for number in sorted(chosen)]


@pytest.mark.parametrize("name", ["", *INSTANCES])
def test_what_is_done_by_hand_is_undone_and_nothing_else(system: System, name: str) -> None:
    drifts = system.all_drifts(name)
    trial = Trial(system, name)
    trial.run(drawn(drifts, name))
    tried = len(trial.seconds) + len(trial.failures)
    slowest = max(trial.seconds, default=0.0)
    late = sum(seconds >= 2 for seconds in trial.seconds)
    print(
        f"drift in {name or 'the host'}: {tried} of {len(drifts)} tried, {len(trial.seconds)} repaired, "
        f"slowest {slowest:.2f} s, {late} in 2 s or more (seed {SEED})"
    )
    assert not trial.failures, "\n".join(trial.failures)
    assert tried
