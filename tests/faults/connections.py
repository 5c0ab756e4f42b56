"""New TCP connections, one after the other, all of which must succeed.

Run as a script in a network namespace (`python -SE connections.py serve|connect …`), so it imports only the standard
library.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
import time
from collections.abc import Callable

PAUSE = 0.01  # seconds between two connections
PATIENCE = 60.0  # seconds; a connection that takes longer has failed, a slow machine's doesn't
GREETING = b"welcome"

stopped = False


def stop(*_: object) -> None:
    global stopped  # noqa: PLW0603  # a signal handler's only way
    stopped = True


def serve(port: str) -> None:
    """Greet whoever comes, and wait for the end of its connection."""
    with socket.create_server(("0.0.0.0", int(port)), backlog=1024) as server:
        print("ready", flush=True)
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(PATIENCE)
                connection.sendall(GREETING)


def connect(address: str, port: str) -> None:
    """Connect again and again until SIGINT; print `ready` after the first, at the end how many were made and failed."""
    made, failures = 0, list[str]()
    while not stopped:
        try:
            with socket.create_connection((address, int(port)), PATIENCE) as connection:
                if connection.recv(64) != GREETING:
                    failures.append("no greeting")
        except OSError as exc:
            failures.append(str(exc))
        made += 1
        if made == 1:
            print("ready", flush=True)
        time.sleep(PAUSE)
    print(json.dumps({"made": made, "failed": len(failures), "failures": failures[:3]}))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, stop)
    MODES: dict[str, Callable[..., None]] = {"serve": serve, "connect": connect}
    MODES[sys.argv[1]](*sys.argv[2:])
