"""How long to wait before a child is started again, and when its deaths count as a crash loop. Pure."""

from __future__ import annotations

from collections.abc import Sequence

FIRST_DELAY = 0.0  # seconds: one death alone costs nothing
MIN_DELAY = 0.5  # seconds after the second death within the window, doubled by each further one
MAX_DELAY = 30.0  # seconds
DOUBLINGS = 6  # that lead beyond it
WINDOW = 60.0  # seconds: deaths older than this are forgotten
LOOP_DEATHS = 5  # within the window: a crash loop


def delay(deaths: Sequence[float], now: float) -> float:
    """Return the seconds to wait after the last of the deaths (their times, in seconds of the same clock as `now`)."""
    recent = len(recent_deaths(deaths, now))
    if recent <= 1:
        return FIRST_DELAY
    return min(MIN_DELAY * 2.0 ** min(recent - 2, DOUBLINGS), MAX_DELAY)


def is_crash_loop(deaths: Sequence[float], now: float) -> bool:
    """Tell whether so many deaths came so fast that an operator should look."""
    return len(recent_deaths(deaths, now)) >= LOOP_DEATHS


def recent_deaths(deaths: Sequence[float], now: float) -> list[float]:
    """Return the deaths within the window."""
    return [death for death in deaths if now - death < WINDOW]
