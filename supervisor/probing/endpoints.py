"""Asks an endpoint outside: a TCP connection, or an HTTP status.

What counts as an answer: a connection that stands; an HTTP status below 500, for a redirection or "forbidden" proves
the way as "ok" does. A refused connection and a 5xx don't: the endpoint's host was reached, but the endpoint doesn't
serve, and a firewall on the way can refuse just as well.
"""

from __future__ import annotations

import os
import re
import socket

from supervisor.probing.probes import Probe
from supervisor.probing.sockets import open_bound, peer, read_until, ready

LONGEST_STATUS_LINE = 1024  # bytes read of an answer
SERVER_ERROR = 500  # and above: RFC 9110, 15.6


class Unserved(Exception):  # noqa: N818 (no error of ours: what an endpoint answered)
    """The endpoint answered, but not as one that serves; the text says how."""


async def tcp(probe: Probe, deadline: float) -> None:
    """Return when a connection stands; it is closed again. Raises OSError, TimeoutError with words."""
    assert probe.endpoint
    with open_bound(probe, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        await connect(sock, probe, deadline)


async def http(probe: Probe, deadline: float) -> None:
    """Return when a GET was answered by a good status. Raises OSError, TimeoutError, Unserved with words."""
    assert probe.endpoint
    received = bytearray()

    def has_line() -> bool:
        data = sock.recv(LONGEST_STATUS_LINE - len(received))
        received.extend(data)
        return not data or b"\n" in received or len(received) >= LONGEST_STATUS_LINE

    with open_bound(probe, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        await connect(sock, probe, deadline)
        sock.send(get(probe))  # fits into the buffer of a fresh connection
        await read_until(sock, deadline, "no HTTP answer", has_line)
    check_status(bytes(received))


async def connect(sock: socket.socket, probe: Probe, deadline: float) -> None:
    """Connect to the endpoint. Raises OSError, TimeoutError with words."""
    assert probe.endpoint
    try:
        sock.connect(peer(probe, probe.endpoint.port))
    except BlockingIOError:
        await ready(sock, deadline, write=True)
    if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(error, os.strerror(error))
    try:
        sock.getpeername()
    except OSError:
        raise TimeoutError("no connection") from None


def get(probe: Probe) -> bytes:
    """Return the request (RFC 9112)."""
    assert probe.endpoint
    host = f"[{probe.address}]" if probe.address.version == 6 else str(probe.address)
    lines = (
        f"GET {probe.endpoint.path} HTTP/1.1",
        f"Host: {host}:{probe.endpoint.port}",
        "User-Agent: nsvisor",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def check_status(answer: bytes) -> None:
    """Raise Unserved unless an answer begins with a status that proves the way."""
    if not answer:
        raise Unserved("connection closed without an HTTP answer")
    match = re.match(rb"HTTP/\d(?:\.\d)? (\d{3})\b", answer)
    if not match:
        raise Unserved(f"no HTTP answer: {answer[:40]!r}")
    if int(match[1]) >= SERVER_ERROR:
        raise Unserved(f"HTTP status {int(match[1])}")
