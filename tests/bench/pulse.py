"""Feels an app's pulse: round trips and new connections, again and again. Only the standard library: it runs in apps.

python -SE pulse.py ADDRESS UDP_PORT TCP_PORT RESOLVER NAME SECONDS: prints `ready`, then milliseconds of
each, and how many failed.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

PAUSE = 0.002  # seconds after each
TIMEOUT = 2.0  # seconds: what takes longer failed
DNS_PORT = 53
QUESTION = bytes.fromhex("0100 0001 0000 0000 0000")  # RFC 1035: recursion desired, one question
A_IN = bytes.fromhex("00 0001 0001")


class Asked(NamedTuple):
    """Who is asked, and for what."""

    address: str
    udp_port: str
    tcp_port: str
    resolver: str
    name: str


def main(asked: Asked, seconds: float) -> None:
    """Measure for a while, then print."""
    found: dict[str, list[float]] = {"round trip": [], "new connection": [], "lookup": []}
    failed = dict.fromkeys(found, 0)
    with socket.socket(type=socket.SOCK_DGRAM) as echo, socket.socket(type=socket.SOCK_DGRAM) as names:
        echo.settimeout(TIMEOUT)
        echo.connect((asked.address, int(asked.udp_port)))
        names.settimeout(TIMEOUT)
        names.connect((asked.resolver, DNS_PORT))
        attempts: dict[str, Callable[[], None]] = {
            "round trip": lambda: ask(echo),
            "new connection": lambda: knock(asked.address, int(asked.tcp_port)),
            "lookup": lambda: look_up(names, asked.name),
        }
        print("ready", flush=True)
        end = time.monotonic() + seconds
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


def look_up(names: socket.socket, name: str) -> None:
    """Ask for a name's IPv4 addresses, and await the answer. Raises OSError, also when there is no such name."""
    number = time.monotonic_ns().to_bytes(8, "big")[-2:]
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    names.send(number + QUESTION + labels + A_IN)
    while (answer := names.recv(512))[:2] != number:
        pass
    if not int.from_bytes(answer[6:8], "big"):
        raise OSError(f"no address of {name}")


if __name__ == "__main__":
    main(Asked(*sys.argv[1:-1]), float(sys.argv[-1]))
