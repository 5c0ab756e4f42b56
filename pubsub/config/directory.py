"""Reads and writes the files of a config directory."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

from pubsub.config.document import SIZE_LIMIT
from pubsub.config.merge import CONFIG_SUFFIXES

Signature = tuple[object, ...]  # equal as long as no file changed


def config_files(directory: Path) -> list[Path]:
    """Return the files that count, sorted; hidden ones (editors' swap files) don't. Raises OSError."""
    return sorted(
        path for path in directory.iterdir() if path.suffix in CONFIG_SUFFIXES and not path.name.startswith(".")
    )


def signature(directory: Path) -> Signature:
    """Return what tells one state of the directory from another, without reading a file."""
    try:
        return tuple(_stat(path) for path in config_files(directory))
    except OSError as exc:
        return ("unreadable", exc.errno)


def read_directory(directory: Path) -> dict[str, bytes | OSError]:
    """Return each file's content, or why it can't be read, by its path. The directory itself may be what can't."""
    try:
        return {str(path): read_file(path) for path in config_files(directory)}
    except OSError as exc:
        return {str(directory): exc}


def read_file(path: Path) -> bytes | OSError:
    """Return the content of one file, or why it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a fifo mustn't stop us
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return OSError(errno.EINVAL, "not a file")
            return file.read(SIZE_LIMIT + 1)
    except OSError as exc:
        return exc


def write_atomically(path: Path, text: str) -> None:
    """Replace a file at once: after a power cut it has the old or the new content. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def sync_directory(directory: Path) -> None:
    """Make renames and deletions in a directory last over a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stat(path: Path) -> tuple[object, ...]:
    try:
        found = path.stat()
    except OSError as exc:
        return (path.name, exc.errno)
    return (path.name, found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)
