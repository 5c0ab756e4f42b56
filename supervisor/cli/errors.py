"""How a command fails: in words, with an exit code that scripts can rely on."""

from __future__ import annotations

FAILED = 1
USAGE = 2
NOT_FOUND = 3  # no such instance, app, table, …
NOT_RUNNING = 4  # no nsvisord for this run-dir
TIMED_OUT = 5
INVALID_CONFIG = 6
DENIED = 7
SIGNALLED = 128  # + number of the signal that ended the command of `run` or `exec`

EXIT_CODES = {
    0: "done",
    FAILED: "failed",
    USAGE: "wrong usage",
    NOT_FOUND: "no such instance, app, uplink or table",
    NOT_RUNNING: "nsvisord doesn't run",
    TIMED_OUT: "timed out",
    INVALID_CONFIG: "invalid configuration",
    DENIED: "not permitted",
}


class CliError(Exception):
    """A failure that the user is told in one sentence."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code
