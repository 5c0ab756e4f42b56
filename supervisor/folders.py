"""Folders that root opens where an instance may write: no link in them is followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[int]:
    """Open a folder. Raises OSError; ELOOP or ENOTDIR where a link stands in its place."""
    fd = os.open(path, FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def owned(name: str, uid: int, parent: int) -> Iterator[int]:
    """Open a folder below `parent`, made and given to `uid` first if need be. Raises OSError."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)
    fd = os.open(name, FOLDER, dir_fd=parent)
    try:
        if os.fstat(fd).st_uid != uid:
            os.fchown(fd, uid, uid)
        yield fd
    finally:
        os.close(fd)
