"""Traffic that tells a lost packet from a late reader: numbered datagrams and one long TCP transfer.

Run as a script in a network namespace (`python -SE flows.py echo|stream|sink|source …`), so it imports only the
standard library. Sockets have room for seconds of traffic: what is missing then, the network has lost.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

BUFFER = 8 * 2**20  # bytes of a socket's receive buffer
STRAGGLERS = 3.0  # seconds to wait for the last answers
AFTERWARDS = 300  # datagrams that are sent after the signal to stop: what comes back late harms them
CHUNK = bytes(range(256)) * 64
PACE = 0.004  # seconds between two chunks: 4 MB/s, which leaves a small machine to what is tested
TCP_TIMEOUT = 10.0  # seconds

stopped = False


def stop(*_: object) -> None:
    global stopped  # noqa: PLW0603  # a signal handler's only way
    stopped = True


def datagrams() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.suppress(PermissionError):
        made.setsockopt(socket.SOL_SOCKET, 33, BUFFER)  # SO_RCVBUFFORCE
    return made


def echo(port: str) -> None:
    """Send every datagram back."""
    server = datagrams()
    server.bind(("0.0.0.0", int(port)))
    print("ready", flush=True)
    while True:
        server.sendto(*server.recvfrom(2048))


def stream(address: str, port: str, rate: str) -> None:
    """Send numbered datagrams to an echo until SIGINT, and some more; print `ready` at the first answer, at the end
    what is missing.
    """
    client = datagrams()
    client.connect((address, int(port)))
    missing: set[int] = set()
    sent, refused, first = 0, 0, True
    began = time.monotonic()
    last = end = float("inf")
    while sent < last or (missing and time.monotonic() < end):
        now = time.monotonic()
        if stopped and last == float("inf"):
            last = sent + AFTERWARDS
        while sent < min(last, (now - began) * int(rate)):
            missing.add(sent)
            try:
                client.send(struct.pack("!Q", sent))
            except OSError:
                refused += 1
            sent += 1
        if sent >= last and end == float("inf"):
            end = now + STRAGGLERS
        while select.select([client], [], [], 0.001)[0]:
            try:
                missing.discard(struct.unpack("!Q", client.recv(64))[0])
            except OSError:
                refused += 1
                continue
            if first:
                first = False
                print("ready", flush=True)
            if sent < (time.monotonic() - began) * int(rate):
                break
    numbers = sorted(missing)
    print(json.dumps({"sent": sent, "lost": len(numbers), "refused": refused, "numbers": numbers[:3] + numbers[-3:]}))


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
    """Send to a sink until SIGINT; print `ready` at the beginning, at the end what was sent, what arrived, the gap."""
    sent, gap = 0, 0.0
    with socket.create_connection((address, int(port)), TCP_TIMEOUT) as connection:
        print("ready", flush=True)
        last = time.monotonic()
        while not stopped:
            connection.sendall(CHUNK)
            sent += len(CHUNK)
            gap, last = max(gap, time.monotonic() - last), time.monotonic()
            time.sleep(PACE)
        connection.shutdown(socket.SHUT_WR)
        arrived = int(connection.recv(64) or b"0")
    print(json.dumps({"sent": sent, "arrived": arrived, "gap": round(gap, 3)}))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, stop)
    MODES: dict[str, Callable[..., None]] = {"echo": echo, "stream": stream, "sink": sink, "source": source}
    MODES[sys.argv[1]](*sys.argv[2:])
