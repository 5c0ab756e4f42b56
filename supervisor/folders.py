"""Folders that root opens where an instance may write: no link in them is followed."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from supervisor.names import UIDS_PER_INSTANCE

MODE: Final = 0o750
SERVICES: Final = 65534  # of an instance's ids, that of its services: nobody, nogroup
SCARCE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # what we lack for a while, nobody else's fault
TAKEN: Final = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
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
    """Open a folder below `parent`, made and given to an instance first if need be. Raises OSError.

    `uid` is the instance's first one. Its services read what lies there; other users of the host don't. What another
    of that name has left, under uids that this one can't read, is deleted.
    """
    with suppress(FileExistsError):
        os.mkdir(name, MODE, dir_fd=parent)
    fd = os.open(name, FOLDER, dir_fd=parent)
    try:
        found = os.fstat(fd)
        if found.st_uid and found.st_uid not in range(uid, uid + UIDS_PER_INSTANCE):
            _empty(fd)
        if (found.st_uid, found.st_gid) != (uid, uid + SERVICES):
            os.fchown(fd, uid, uid + SERVICES)
        if stat.S_IMODE(found.st_mode) != MODE:
            os.fchmod(fd, MODE)
        yield fd
    finally:
        os.close(fd)


def remove(path: str | os.PathLike[str]) -> None:
    """Delete a folder in which an instance may have written, with all that is in it, as deep as it may be.

    Raises OSError; what could be deleted is gone then. No link is followed. FileNotFoundError is none.
    """
    with suppress(FileNotFoundError):
        with opened(path) as folder:
            _empty(folder)
        Path(path).rmdir()


def _empty(folder: int) -> None:
    numbers = itertools.count()
    while names := os.listdir(folder):  # of a descriptor
        for name in names:
            _remove_from(folder, name, numbers)


def _remove_from(folder: int, name: str, numbers: Iterator[int]) -> None:
    """Delete an entry; the folders in it come up beside it, so that no path and no recursion grows."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=folder)
        return
    inner = os.open(name, FOLDER, dir_fd=folder)
    try:
        for entry in os.listdir(inner):  # noqa: PTH208  # the same
            if stat.S_ISDIR(os.stat(entry, dir_fd=inner, follow_symlinks=False).st_mode):
                _lift(inner, entry, folder, numbers)
            else:
                os.unlink(entry, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)


def _lift(inner: int, entry: str, folder: int, numbers: Iterator[int]) -> None:
    """Move a folder up under a name that no other has: a folder takes no other's place that isn't empty."""
    for number in numbers:
        try:
            os.rename(entry, f".removed-{number}", src_dir_fd=inner, dst_dir_fd=folder)
        except OSError as exc:
            if exc.errno not in TAKEN:
                raise
        else:
            return
