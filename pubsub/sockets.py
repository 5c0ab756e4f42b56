"""The two questions that a loop asks a ZeroMQ socket, with their types."""

from __future__ import annotations

import zmq


def descriptor(socket: zmq.Socket[bytes]) -> int:
    """Find what becomes readable when something about the socket changes. Edge-triggered: see zmq_getsockopt(3)."""
    found = socket.getsockopt(zmq.FD)
    assert isinstance(found, int)
    return found


def events(socket: zmq.Socket[bytes]) -> int:
    """Tell what is possible now: POLLIN, POLLOUT."""
    found = socket.getsockopt(zmq.EVENTS)
    assert isinstance(found, int)
    return found
