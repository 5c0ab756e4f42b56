"""A client's connection: one DEALER socket, read by the loop, never awaited.

The socket sends an empty frame on every new connection (ZMQ_PROBE_ROUTER, which works again after each reconnect only
together with ZMQ_IMMEDIATE), the hub answers with a greeting: so a client learns in order, on the same pipe, that all
before is void.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

import zmq

from pubsub.sockets import descriptor, events
from pubsub.wire import Malformed, ToClient, decode_to_client

RECONNECT_INTERVAL = 20  # milliseconds between two tries; a hub's restart heals in well under a second
DENIED_INTERVAL = 0.1  # seconds until a client that the hub refused tries again: its grant may be on the way
SEND_LIMIT = 16  # messages that wait for the hub; the rest is merged per key
LINGER = 200  # milliseconds for the last words at the end
DRAIN_MESSAGES = 64  # read in one turn, before other readers of the loop have theirs
CLOSED_EVENTS = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


class Receiver(Protocol):
    """Who uses a link."""

    def received(self, frame: ToClient) -> None:
        """Take a frame of the hub."""

    def writable(self) -> None:
        """Go on sending, after a `send` that returned False."""

    def denied(self) -> None:
        """Learn that the hub refused the connection. The link tries again by itself."""


class Line(Protocol):
    """What a Bus needs of a link."""

    def send(self, message: bytes) -> bool:
        """Hand a message over; False when the hub takes no more now or is away: `writable` or a greeting follows."""

    def close(self) -> None:
        """End the connection."""


class Link:
    """Connects, and connects again, until closed."""

    def __init__(self, path: Path, receiver: Receiver) -> None:
        self._endpoint = f"ipc://{path}"
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context(io_threads=1)
        self._full = False
        self._scheduled: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._open()

    def send(self, message: bytes) -> bool:
        """Hand a message over; False when the hub takes no more now or is away: `writable` or a greeting follows."""
        taken = True
        try:
            self._socket.send(message, zmq.NOBLOCK)
        except zmq.Again:
            taken, self._full = False, True
        if events(self._socket) & (zmq.POLLIN | zmq.POLLOUT if self._full else zmq.POLLIN):
            self._soon()  # a send may swallow what the descriptor would have told
        return taken

    def close(self) -> None:
        """End the connection; what was sent gets a moment to leave."""
        for handle in (self._scheduled, self._timer):
            if handle is not None:
                handle.cancel()
        self._shut(LINGER)
        self._context.term()

    def _open(self) -> None:
        self._timer = None
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.PROBE_ROUTER, 1)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_INTERVAL)
        self._socket.setsockopt(zmq.SNDHWM, SEND_LIMIT)
        self._monitor = self._socket.get_monitor_socket(CLOSED_EVENTS)
        self._socket.connect(self._endpoint)
        self._loop.add_reader(descriptor(self._socket), self._turn)
        self._loop.add_reader(descriptor(self._monitor), self._watch)
        self._watch()  # its descriptor tells nothing before the first look
        self._soon()

    def _shut(self, linger: int) -> None:
        self._loop.remove_reader(descriptor(self._socket))
        self._loop.remove_reader(descriptor(self._monitor))
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=linger)

    def _watch(self) -> None:
        """A refused connection isn't tried again by libzmq: begin with a new socket."""
        refused = False
        while events(self._monitor) & zmq.POLLIN:
            self._monitor.recv_multipart(zmq.NOBLOCK)
            refused = True
        if refused and self._timer is None:
            self._timer = self._loop.call_later(DENIED_INTERVAL, self._again)
            self._receiver.denied()

    def _again(self) -> None:
        self._shut(0)
        self._open()

    def _soon(self) -> None:
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Read some. The descriptor is edge-triggered: look again at what is left."""
        self._scheduled = None
        for _ in range(DRAIN_MESSAGES):
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._receive(message)
        if self._full and events(self._socket) & zmq.POLLOUT:
            self._full = False
            self._receiver.writable()
        if events(self._socket) & zmq.POLLIN:
            self._soon()

    def _receive(self, message: bytes) -> None:
        try:
            frame = decode_to_client(message)
        except Malformed:
            return  # of a later hub; what we understand goes on
        self._receiver.received(frame)
