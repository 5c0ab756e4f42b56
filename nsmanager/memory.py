"""Keeps managers small, for a process a namespace is affordable only then: shares what can be shared, returns the rest.

What makes a forked Python large is reference counts: whoever only looks at an object writes its count, and the kernel
copies that page. Half of the pages that a manager copies are, byte for byte, as before.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from functools import cache
from types import ModuleType

IMMORTAL_SINCE, IMMORTAL_UNTIL = (3, 12), (3, 14)  # CPython's with this layout of a count: PEP 683; tried on 3.12, 3.13
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # see malloc.h
HOARDED, KEPT = 32 << 20, 64 << 10  # bytes


def freeze() -> None:
    """Make all objects of this process as shareable as they can be. Called once, before the first fork.

    From CPython 3.12 on an object may be immortal: its count isn't written any more. That saves a manager 2 to 3 MB.
    Such objects live until the process ends, so it must end by `os._exit`. The garbage collector is off afterwards.
    """
    gc.collect()
    gc.disable()
    if sys.implementation.name == "cpython" and IMMORTAL_SINCE <= sys.version_info < IMMORTAL_UNTIL:
        _make_immortal()
    gc.freeze()


def _make_immortal() -> None:
    """Give every object the count of None, which is immortal. Only the low 32 bits count (Include/object.h)."""
    low = 0 if sys.byteorder == "little" else 4
    count = ctypes.c_uint32.from_address
    immortal = count(id(None) + low).value
    if immortal != sys.getrefcount(None):
        return  # a build with another layout, as the one without the GIL
    addresses: set[int] = set()
    new: dict[int, object] = {}
    batch = gc.get_objects()
    while batch:
        new = {id(one): one for one in batch if id(one) not in addresses}
        addresses |= new.keys()
        # A module's state isn't followed: _asyncio's shows its free list there, and the dict is known to the collector.
        batch = gc.get_referents(*(one for one in new.values() if not isinstance(one, ModuleType)))
    batch.clear()
    new.clear()
    for address in addresses - {id(batch), id(new), id(addresses)}:
        count(address + low).value = immortal


def forget_names() -> None:
    """Empty the interpreter's cache of attributes: each entry holds a name, and to replace it is to write its count."""
    with contextlib.suppress(AttributeError):
        sys._clear_type_cache()  # noqa: SLF001  # gone in some later Python: then a manager is 0.1 MB larger


def hoard() -> None:
    """Keep free pages until `trim`: nft takes half a megabyte and more for each command, and new pages cost time."""
    _return_above(HOARDED)


def trim() -> None:
    """Return the C library's free pages, now and from now on: reading a ruleset once leaves 1.6 MiB of them."""
    _return_above(KEPT)
    _libc().malloc_trim(0)


def _return_above(size: int) -> None:
    """Have free memory of so many bytes returned to the kernel: see M_TRIM_THRESHOLD in mallopt(3)."""
    for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        _libc().mallopt(parameter, size)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
