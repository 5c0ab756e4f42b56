"""Files that root writes and reads back: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Replace a file in one step, readable by root only; `durable`: it also survives a power cut.

    Raises OSError; the old file is left as it was, and nothing else behind.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        with open(new, "wb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        new.rename(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_or_none(path: Path) -> bytes | None:
    """Return a file's bytes, or None when it isn't there."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
