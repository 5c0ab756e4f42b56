"""Counts what is tried, over all tests of this folder, and prints it at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

Tally = Callable[..., None]
ATTACKS, FUZZ = "attacks", "fuzz cases"


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    """Return a function that notes how many attacks (or fuzz cases) the test tries: `tally(3)`, `tally(900, FUZZ)`.

    It is called before the test judges them: those of a test that fails count as succeeded.
    """

    def note(number: int = 1, what: str = ATTACKS) -> None:
        record_property(what, number)

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts."""
    counts = {"passed": Counter[str](), "failed": Counter[str]()}
    for outcome, counted in counts.items():
        for report in terminalreporter.getreports(outcome):
            for what, number in getattr(report, "user_properties", ()):
                if what in {ATTACKS, FUZZ}:
                    counted[what] += number
    tried = counts["passed"] + counts["failed"]
    if tried:
        terminalreporter.write_line(
            f"attacks tried: {tried[ATTACKS]}, succeeded: {counts['failed'][ATTACKS]}; "
            f"fuzz cases: {tried[FUZZ]}, of failed tests: {counts['failed'][FUZZ]}"
        )
