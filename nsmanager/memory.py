"""Gives memory that is not in use back to the kernel: a process a namespace is affordable only when each is small."""

from __future__ import annotations

import ctypes
from functools import cache


def trim() -> None:
    """Return the C library's free pages, see malloc_trim(3): reading a ruleset once leaves 1.6 MiB of them."""
    _libc().malloc_trim(0)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
