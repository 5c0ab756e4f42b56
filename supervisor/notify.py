"""sd_notify(3): tells systemd that we are ready and alive."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(*lines: str) -> None:
    """Send lines as `READY=1` to the service manager that started us; does nothing when there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with (
        contextlib.suppress(OSError),  # a service manager that listens no more is no reason to end
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
    ):
        sock.sendto("\n".join(lines).encode(), "\0" + address[1:] if address.startswith("@") else address)


def watchdog_interval() -> float | None:
    """Return how often systemd wants to hear from us, in seconds: half its limit. None: not at all."""
    microseconds = os.environ.get("WATCHDOG_USEC")
    pid = os.environ.get("WATCHDOG_PID")
    if not microseconds or (pid and int(pid) != os.getpid()):
        return None
    return int(microseconds) / 2e6
