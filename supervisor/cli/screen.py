"""stdout and stderr of the command, on which nothing that others wrote can control the terminal."""

from __future__ import annotations

import sys
from typing import Any, TextIO, cast

from supervisor.printable import printable


class Screen:
    """A stream that shows control characters; colours pass to a terminal. All else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._styles = stream.isatty()

    def write(self, text: str) -> int:
        """Write a text, made harmless."""
        self._stream.write(printable(text, styles=self._styles))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard() -> None:
    """Put both streams of this process behind a Screen."""
    sys.stdout, sys.stderr = cast("TextIO", Screen(sys.stdout)), cast("TextIO", Screen(sys.stderr))
