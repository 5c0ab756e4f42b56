"""Which faults come when: the same seed, the same schedule. Pure."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence

STEPS = 6  # of one schedule
LONGEST_PAUSE = 1.0  # seconds between two faults


@dataclasses.dataclass(frozen=True)
class Step:
    """One fault, and what comes before the next."""

    fault: str
    instance: str  # whom it is about, where it is about one
    pause: float  # seconds; much of what goes wrong goes wrong because the last fault isn't mended yet

    def __str__(self) -> str:
        return f"{self.fault} {self.instance}, then {self.pause:.2f} s"


def schedule(seed: int, weights: Mapping[str, int], instances: Sequence[str]) -> tuple[Step, ...]:
    """Draw the steps of a seed; `weights`: how often each fault is wanted."""
    drawn = random.Random(seed)
    faults = drawn.choices(list(weights), list(weights.values()), k=STEPS)
    return tuple(
        Step(fault, drawn.choice(list(instances)), drawn.choice((0.0, drawn.uniform(0.0, LONGEST_PAUSE))))
        for fault in faults
    )
