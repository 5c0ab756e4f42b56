"""Measures a process: memory, processor time, age."""

from __future__ import annotations

import time
from typing import Any

import psutil


def measure(pid: int) -> dict[str, Any]:
    """Return PSS, processor time and its share of the process's life; None for what is gone or not ours to see."""
    found: dict[str, Any] = {"pss_bytes": None, "cpu_seconds": None, "cpu_percent": None, "since": None}
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times, born = process.cpu_times(), process.create_time()
        used = times.user + times.system
        found.update(cpu_seconds=used, cpu_percent=100 * used / max(time.time() - born, 0.01), since=born)
        found["pss_bytes"] = process.memory_full_info().pss
    except (psutil.Error, ValueError, OverflowError):  # no pid: who told it may be hostile
        pass
    return found
