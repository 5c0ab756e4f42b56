"""Draws the history of a probe: a bar for each answer, as high as it was slow, and a mark for each that never came."""

from __future__ import annotations

import locale
import sys
from collections.abc import Sequence

DRAWN = 30  # tries, the newest; more don't fit beside the rest of a line

BARS, LOST = "▁▂▃▄▅▆▇█", "×"
ASCII_BARS, ASCII_LOST = "_.-=+*%#", "x"


def draw(history: Sequence[float], *, unicode: bool) -> str:
    """Return one character a try, the newest last, and what they measure; the highest bar is the slowest answer.

    `history` is in milliseconds, negative: no answer. Only the newest DRAWN are looked at.
    """
    history = history[-DRAWN:]
    if not history:
        return "-"
    bars, lost = (BARS, LOST) if unicode else (ASCII_BARS, ASCII_LOST)
    answers = [latency for latency in history if latency >= 0]
    slowest = max(answers, default=0.0)
    line = "".join(lost if latency < 0 else bars[height(latency, slowest, len(bars))] for latency in history)
    words = [f"{min(answers):.1f}-{slowest:.1f} ms"] if answers else []
    if len(answers) < len(history):
        words.append(f"{len(history) - len(answers)} of {len(history)} lost")
    return f"{line}  {', '.join(words)}"


def height(latency: float, slowest: float, levels: int) -> int:
    """Return which of the levels stands for a latency; the scale begins at 0, so that jitter doesn't look like more."""
    return min(int(latency / slowest * levels), levels - 1) if slowest else 0


def terminal_knows_unicode() -> bool:
    """Tell whether bars can be printed. Python writes UTF-8 in the C locale too (PEP 540): so the locale counts."""
    return all("utf8" in name.lower().replace("-", "") for name in (sys.stdout.encoding or "", locale.getencoding()))
