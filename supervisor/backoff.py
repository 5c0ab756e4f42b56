"""How long to wait before a child is started again, and when its deaths count as a crash loop. Pure."""

from __future__ import annotations

from collections.abc import Sequence

FIRST_DELAY = 0.0  # seconds: one death alone costs nothing
MIN_DELAY = 0.5  # seconds after the second death within the window, doubled by each further one
MAX_DELAY = 30.0  # seconds
WINDOW = 60.0  # seconds: deaths older than this are forgotten
LOOP_DEATHS = 5  # within the window: a crash loop


def delay(deaths: Sequence[float], now: float) -> float:
    """Return the seconds to wait after the last of the deaths (their times, in seconds of the same clock as `now`)."""
    recent = recent_deaths(deaths, now)
    if recent <= 1:
        return FIRST_DELAY
    return min(MIN_DELAY * 2.0 ** (recent - 2), MAX_DELAY)


def is_crash_loop(deaths: Sequence[float], now: float) -> bool:
    """Tell whether so many deaths came so fast that an operator should look."""
    return recent_deaths(deaths, now) >= LOOP_DEATHS


def recent_deaths(deaths: Sequence[float], now: float) -> int:
    """Count the deaths within the window."""
    return sum(1 for death in deaths if now - death < WINDOW)
