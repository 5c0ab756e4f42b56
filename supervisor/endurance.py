"""Nothing that a part of nsvisord meets ends the whole: a full disk, no more descriptors, a defect of ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from pubsub.attempt import attempt

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds until a part that failed begins anew


async def endure(what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do some work; when it fails say so, and begin anew a little later. Returns when the work does."""
    while True:
        with spared(what):
            await attempt(work())
            return
        await asyncio.sleep(PAUSE)


@contextlib.contextmanager
def spared(what: str) -> Iterator[None]:
    """Go on behind the block when that failed, and say so."""
    try:
        yield
    except Exception as exc:  # whatever it is, it is this part's trouble
        causes = leaves(exc)
        if all(isinstance(cause, OSError) for cause in causes):  # the host's trouble: where we met it tells nothing
            words = dict.fromkeys(str(cause) or type(cause).__name__ for cause in causes)
            log.error("%s: %s; trying again", what, "; ".join(words))  # noqa: TRY400
        else:
            log.exception("%s: a defect; trying again", what)


def leaves(exc: Exception) -> list[BaseException]:
    """Return the exceptions in a group and in its groups; of any other exception itself."""
    if not isinstance(exc, ExceptionGroup):
        return [exc]
    return [leaf for one in exc.exceptions for leaf in leaves(one)]
