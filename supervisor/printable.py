"""What others wrote, for a terminal or a log: control characters are shown, and do nothing.

A manager that was taken over, a name in DNS or a host's name in a lease may hold them (ECMA-48; ESC, CSI and the like
move the cursor, set titles, type answers). Signs of direction (UAX #9) make a text look like another.
"""

from __future__ import annotations

import re
from typing import Final

_CONTROLS: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_TEXT: Final = re.compile(f"[{_CONTROLS}]")
_IN_LINE: Final = re.compile(f"[{_CONTROLS}\t\n]")
_BUT_STYLES: Final = re.compile(rf"(?!\x1b\[[0-9;]{{0,8}}m)[{_CONTROLS}]")  # bold, colours


def printable(text: str, *, styles: bool = False) -> str:
    """Return a text of several lines; `styles`: with its bold and coloured parts."""
    return (_BUT_STYLES if styles else _IN_TEXT).sub(_shown, text)


def in_line(text: str) -> str:
    """Return a text that stays in its line, as a cell of a table."""
    return _IN_LINE.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    """Write a character as JSON does, so that JSON stays what it is."""
    return {"\n": r"\n", "\t": r"\t"}.get(found[0], f"\\u{ord(found[0]):04x}")
