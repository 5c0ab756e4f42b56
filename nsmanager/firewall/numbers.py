"""Numbers of apps and rules that packets and connections carry: the same for the same each time. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

NO_APP = 0  # in a mark: it came by a port that is no app's, or from outside
OTHER_PORT = 0xFFFF  # in a mark's upper half: it leaves by a port of the bridge that is no app's
LAST = 0xFFFE  # numbers go from 1; 16 bits of a mark each


def numbers(words: Iterable[str]) -> dict[str, int]:
    """Return a number of 1 to LAST for each word, by its hash; where two meet, the later word in order gives way."""
    found: dict[str, int] = {}
    taken: set[int] = set()
    for word in sorted(set(words)):
        number = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % LAST + 1
        while number in taken:
            number = number % LAST + 1
        taken.add(number)
        found[word] = number
    return found


def halves(mark: int) -> tuple[int, int]:
    """Return the lower and the upper half of a mark."""
    return mark & 0xFFFF, mark >> 16


def low(number: int) -> str:
    """Write a number as the lower half of a mark: of a packet the app that sent it, of a connection the rule `out`."""
    return f"0x{number:08x}"


def high(number: int) -> str:
    """Write a number as the upper half of a mark: of a packet the app it goes to, of a connection the rule `in`."""
    return f"0x{number << 16:08x}"
