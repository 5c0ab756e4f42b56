"""Traffic of the observers' tests; run as a script inside a host or an app (`python -SE talk.py …`)."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable

FIRST_PORT = 20_000  # of the sources


def answer(address: str, port: str) -> None:
    """Answer each TCP connection as many bytes as it sends, up to a line's end, and datagrams with themselves."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    select = selectors.DefaultSelector()
    listener = socket.create_server((address, int(port)), family=family, backlog=1024)
    echo = socket.socket(family, socket.SOCK_DGRAM)
    echo.bind((address, int(port)))
    for server in (listener, echo):
        server.setblocking(False)
        select.register(server, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in select.select():
            assert isinstance(key.fileobj, socket.socket)
            one = key.fileobj
            with contextlib.suppress(BlockingIOError, ConnectionError):
                if one is listener:
                    conn, _ = listener.accept()
                    select.register(conn, selectors.EVENT_READ)
                elif one is echo:
                    data, end = echo.recvfrom(2048)
                    echo.sendto(data, end)
                else:
                    data = one.recv(65536)
                    if data:
                        one.sendall(data)
                    else:
                        select.unregister(one)
                        one.close()


def connections(address: str, port: str, count: str, ports: str = "own") -> None:
    """Make so many TCP connections, one after the other: each sends, reads its answer, closes; every third resets.

    None has the port of one before it, which would mostly be another connection to conntrack, but not always; unless
    `ports` is `any`: then the kernel chooses them, and this can be called again at once.
    """
    first = FIRST_PORT + (10_000 if ":" in address else 0)
    for number in range(int(count)):
        own = first + number if ports == "own" else 0
        with socket.create_connection((address, int(port)), source_address=("", own)) as conn:
            data = b"x" * (1 + number % 700)
            conn.sendall(data)
            left = len(data)
            while left:
                left -= len(conn.recv(2048))
            if number % 3 == 0:  # RST
                conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    print("done")


def again(address: str, port: str, count: str) -> None:
    """Make so many TCP connections from one port, one after the other; each resets."""
    for _ in range(int(count)):
        with socket.create_connection((address, int(port)), source_address=("", FIRST_PORT - 1)) as conn:
            conn.sendall(b"x")
            conn.recv(1)
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    print("done")


def datagrams(address: str, port: str, count: str) -> None:
    """Make so many UDP flows, one after the other, each of a few datagrams."""
    for number in range(int(count)):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.bind(("", FIRST_PORT + number))  # a port that was used a moment ago would be the same flow
            out.connect((address, int(port)))
            out.settimeout(60)
            for _ in range(1 + number % 3):
                out.send(b"y" * (number % 900))
                out.recv(2048)
    print("done")


def hold(address: str, port: str, count: str) -> None:
    """Hold so many TCP connections; for each line of standard input end as many as it says."""
    held = [socket.create_connection((address, int(port))) for _ in range(int(count))]
    print(" ".join(str(one.getsockname()[1]) for one in held), flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            held.pop(0).close()
        print("ended", flush=True)


def send(address: str, port: str, count: str) -> None:
    """Send so many datagrams, wanting no answer."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.bind(("", 4000))
        for _ in range(int(count)):
            out.sendto(b"z" * 100, (address, int(port)))


def ask(address: str, name: str, count: str) -> None:
    """Ask a DNS server so often for the address of a name, one after the other; print how often a second."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect((address, 53))
        out.settimeout(60)
        began = time.monotonic()
        for number in range(int(count)):
            out.send(struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1")
            out.recv(2048)
    print(int(count) / (time.monotonic() - began))


if __name__ == "__main__":
    MODES: dict[str, Callable[..., None]] = {
        "answer": answer, "connections": connections, "again": again,
        "datagrams": datagrams, "hold": hold, "send": send, "ask": ask,
    }  # fmt: skip
    MODES[sys.argv[1]](*sys.argv[2:])
