"""The instances' logs: RUN/logs/<instance>.log, written by the manager and its services, bounded by us."""

from __future__ import annotations

from pathlib import Path

LOG_LIMIT = 1024 * 1024  # bytes of one instance's log
KEPT = 256 * 1024  # bytes of its end that are kept when it is cut


def trim_logs(folder: Path) -> None:
    """Cut the logs that are over the limit. Their writers append, so they go on behind what is kept. Raises OSError."""
    for path in folder.glob("*.log"):
        if path.stat().st_size > LOG_LIMIT:
            with path.open("r+b") as file:
                file.seek(-KEPT, 2)
                end = file.read().partition(b"\n")[2]
                file.seek(0)
                file.truncate()
                file.write(end)
