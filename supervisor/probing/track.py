"""What one probe has found so far, and when that makes it up or down. Pure: times come as parameters.

A probe counts as up until it is proven bad: `down` failures in a row bring it down, `up` answers in a row up again. Two
things bend that. A *steady* state (STEADY equal results in a row, as EVE's portprober) ends with the first contrary
result. A probe that *flaps* needs more answers: each change within FLAP_WINDOW before the one that brought it down
doubles them, so it stays down longer; there a steady state ends by that count too.
"""

from __future__ import annotations

import msgspec

STEADY = 40  # equal results in a row, after which the first contrary one counts at once
FLAP_WINDOW = 600.0  # seconds for which a change of up and down is held against a probe
MOST_DAMPING = 32  # times the configured answers; with 3 answers every 5 s: 8 minutes
HISTORY = 60  # results kept for people
LOST = -1.0  # in the history: no answer
FLIPS = 7  # changes kept; more would not damp more


class Counts(msgspec.Struct, frozen=True):
    """How many equal results in a row change the state."""

    down: int
    up: int


class Result(msgspec.Struct, frozen=True):
    """What one try gave."""

    latency: float = LOST  # milliseconds
    error: str = ""  # why there was no answer; empty: there was

    @property
    def answered(self) -> bool:
        """Whether what was asked answered as it should."""
        return not self.error


class Track(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one probe; as it begins, nothing was tried. Times are seconds since the epoch."""

    up: bool = True
    since: float = 0.0  # when it went up or down, or when the first result came
    at: float = 0.0  # of the last result; 0: none yet
    run: int = 0  # equal results in a row, the last one included; 0: the next result begins anew
    latency: float = 0.0  # milliseconds, of the last answer; 0: none yet
    error: str = ""  # of the last try
    history: tuple[float, ...] = ()  # milliseconds, LOST for a failure; the newest last
    flips: tuple[float, ...] = ()  # when it went up or down

    @property
    def answered(self) -> bool:
        """Whether the last try was answered."""
        return not self.error

    @property
    def steady(self) -> bool:
        """Whether the state has been confirmed so often that the first contrary result counts."""
        return self.run >= STEADY and self.up == self.answered


def advance(track: Track, result: Result, counts: Counts, now: float) -> Track:
    """Return the track after one more result."""
    run = track.run + 1 if track.run and track.answered == result.answered else 1
    up = track.up
    if result.answered and not track.up:
        needed = answers_needed(track, counts, now)
        up = run >= needed or (track.steady and needed == counts.up)
    elif not result.answered and track.up:
        up = not (run >= counts.down or track.steady)
    flipped = up != track.up
    return Track(
        up=up,
        since=now if flipped or not track.at else track.since,
        at=now,
        run=run,
        latency=result.latency if result.answered else track.latency,
        error=result.error,
        history=(*track.history, round(result.latency, 3) if result.answered else LOST)[-HISTORY:],
        flips=(*track.flips, now)[-FLIPS:] if flipped else track.flips,
    )


def answers_needed(track: Track, counts: Counts, now: float) -> int:
    """Return how many answers in a row bring a probe up that is down. The change that brought it down is free."""
    recent = sum(1 for flip in track.flips if abs(now - flip) < FLAP_WINDOW)
    return int(counts.up * min(2 ** max(recent - 1, 0), MOST_DAMPING))


def anew(track: Track) -> Track:
    """Return the track for a link that isn't quite the same any more: its state stays until new results prove it."""
    return msgspec.structs.replace(track, run=0)
