"""One long TCP transfer, all of whose bytes arrive.

Run as a script in a network namespace (`python -SE flows.py sink|source …`), so it imports only the standard library.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
import time
from collections.abc import Callable

CHUNK = bytes(range(256)) * 64
PACE = 0.004  # seconds between two chunks: 4 MB/s, which leaves a small machine to what is tested
TCP_TIMEOUT = 60.0  # seconds after which the other end hangs

stopped = False


def stop(*_: object) -> None:
    global stopped  # noqa: PLW0603  # a signal handler's only way
    stopped = True


def sink(port: str) -> None:
    """Take TCP connections, one after the other, and answer each at its end with the number of good bytes."""
    with socket.create_server(("0.0.0.0", int(port))) as server:
        print("ready", flush=True)
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(TCP_TIMEOUT)
                good = 0
                while data := connection.recv(65536):
                    start = good % 256
                    good += len(data) if data == (CHUNK + CHUNK * 4)[start : start + len(data)] else 0
                connection.sendall(str(good).encode())


def source(address: str, port: str) -> None:
    """Send to a sink until SIGINT; print `ready` at the beginning, at the end what was sent and what arrived."""
    sent = 0
    with socket.create_connection((address, int(port)), TCP_TIMEOUT) as connection:
        print("ready", flush=True)
        while not stopped:
            connection.sendall(CHUNK)
            sent += len(CHUNK)
            time.sleep(PACE)
        connection.shutdown(socket.SHUT_WR)
        arrived = int(connection.recv(64) or b"0")
    print(json.dumps({"sent": sent, "arrived": arrived}))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, stop)
    MODES: dict[str, Callable[..., None]] = {"sink": sink, "source": source}
    MODES[sys.argv[1]](*sys.argv[2:])
