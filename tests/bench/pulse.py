"""Feels an app's pulse: round trips and new connections, again and again. Only the standard library: it runs in apps.

python -SE pulse.py ADDRESS UDP_PORT TCP_PORT SECONDS: prints milliseconds of each, and how many failed.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable

PAUSE = 0.01  # seconds between two round trips, and between two connections
TIMEOUT = 2.0  # seconds: what takes longer failed


def main(address: str, udp_port: int, tcp_port: int, seconds: float) -> None:
    """Measure for a while, then print."""
    found: dict[str, list[float]] = {"round trip": [], "new connection": []}
    failed = dict.fromkeys(found, 0)
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.settimeout(TIMEOUT)
        echo.connect((address, udp_port))
        attempts: dict[str, Callable[[], None]] = {
            "round trip": lambda: ask(echo),
            "new connection": lambda: knock(address, tcp_port),
        }
        while time.monotonic() < end:
            for what, attempt in attempts.items():
                began = time.monotonic()
                try:
                    attempt()
                except OSError:
                    failed[what] += 1
                else:
                    found[what].append((time.monotonic() - began) * 1000)
                time.sleep(PAUSE)
    print(json.dumps({"milliseconds": found, "failed": failed}))


def ask(echo: socket.socket) -> None:
    """Send a datagram and await its own answer. Raises OSError."""
    message = time.monotonic_ns().to_bytes(8, "big")
    echo.send(message)
    while echo.recv(64)[:8] != message:
        pass


def knock(address: str, port: int) -> None:
    """Open a connection. Raises OSError."""
    socket.create_connection((address, port), TIMEOUT).close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
