"""The hub's sockets: the listening one that survives being replaced, the ROUTER on it, and who a peer is.

libzmq asks the ZAP handler (RFC 27) about every new connection and gives it the kernel's word on the peer, from
SO_PEERCRED; what the handler answers is attached to each of the peer's frames as its User-Id.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable
from pathlib import Path

import zmq

from pubsub.acl import Peer
from pubsub.limits import CONNECTIONS_LIMIT, FRAME_LIMIT, QUEUE_LIMIT, RECEIVE_LIMIT
from pubsub.sockets import events

BACKLOG = 1024  # connections that wait to be accepted; all managers come back at once after a restart
TURN = 64  # connections that come or go before messages have their turn: who knocks for ever stops nobody
HANDSHAKE_TIMEOUT = 5000  # milliseconds for a peer to say who it is
EVENT = struct.Struct("=HI")  # kind and value, zmq_socket_monitor(3)
CREDENTIALS = struct.Struct("=iII")  # pid, uid, gid, unix(7)
ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"nsvisor"


def listen(path: Path) -> socket.socket:
    """Make the socket in place of an older one, at no moment without one. Everybody may connect; the ACL decides."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(temporary))
    except OSError as exc:
        listening.close()
        raise OSError(exc.errno, f"{temporary}: {exc.strerror or exc} (a socket's path has at most 107 bytes)") from exc
    temporary.chmod(0o666)
    listening.listen(BACKLOG)
    temporary.rename(path)
    return listening


def router(context: zmq.Context[zmq.Socket[bytes]], path: Path) -> zmq.Socket[bytes]:
    """Make the one socket that all clients talk to."""
    made = context.socket(zmq.ROUTER)
    made.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a full or gone peer is an error, never a silent loss
    made.setsockopt(zmq.SNDHWM, QUEUE_LIMIT)
    made.setsockopt(zmq.RCVHWM, RECEIVE_LIMIT)
    made.setsockopt(zmq.MAXMSGSIZE, FRAME_LIMIT)
    made.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_TIMEOUT)
    made.setsockopt(zmq.LINGER, 0)
    made.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    made.setsockopt(zmq.USE_FD, listen(path).detach())
    made.bind(f"ipc://{path}")
    return made


class Doorkeeper:
    """The ZAP handler. Refuses uids that may do nothing, before they can send a byte."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], is_known: Callable[[int], bool]) -> None:
        self.socket = context.socket(zmq.REP)
        self.socket.bind(ZAP_ENDPOINT)
        self._is_known = is_known

    def answer_some(self) -> bool:
        """Answer requests that wait, but not for ever: tell whether there are more."""
        for _ in range(TURN):
            if not events(self.socket) & zmq.POLLIN:
                return False
            version, request, _domain, address, *_ = self.socket.recv_multipart()
            user = address.removeprefix(b"localhost:")
            known = self._is_known(Peer.parse(user.decode()).uid)
            status = (b"200", b"OK", user) if known else (b"400", b"no grant", b"")
            self.socket.send_multipart([version, request, *status, b""])
        return True


class Counter:
    """Watches how many connections each uid has, and ends those over the limit.

    Without descriptors left accept(2) would make libzmq abort the hub. libzmq has no way to end one peer's connection;
    shutdown(2) beneath it has.
    """

    def __init__(self, router_: zmq.Socket[bytes], is_full: Callable[[int], bool]) -> None:
        self.socket = router_.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._is_full = is_full
        self._uids: dict[int, int] = {}  # by descriptor

    def count_some(self) -> bool:
        """Take note of connections that came and went, but not for ever: tell whether there are more."""
        for _ in range(TURN):
            if not events(self.socket) & zmq.POLLIN:
                return False
            event, _address = self.socket.recv_multipart()
            kind, descriptor = EVENT.unpack(event)
            if kind == zmq.EVENT_ACCEPTED:
                self._accepted(descriptor)
            else:
                self._uids.pop(descriptor, None)
        return True

    def end_senders(self) -> set[int]:
        """End all connections of uids without full rights that have sent what isn't read yet; return those uids."""
        senders = {uid for descriptor, uid in self._uids.items() if not self._is_full(uid) and _unread(descriptor)}
        for descriptor, uid in self._uids.items():
            if uid in senders:
                _shut(descriptor)
        return senders

    def end(self, uid: int) -> None:
        """End all connections of a uid."""
        for descriptor, owner in self._uids.items():
            if owner == uid:
                _shut(descriptor)

    def _accepted(self, descriptor: int) -> None:
        try:
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                _, uid, _ = CREDENTIALS.unpack(
                    connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
                )
                self._uids[descriptor] = uid
                if not self._is_full(uid) and sum(u == uid for u in self._uids.values()) > CONNECTIONS_LIMIT:
                    connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # gone already


def _unread(descriptor: int) -> int:
    """Count the bytes that wait in a connection's socket; 0 when it has ended."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, count)
    except OSError:
        return 0
    return count[0]


def _shut(descriptor: int) -> None:
    """End a connection beneath libzmq, which then cleans up."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def peer_of(frame: zmq.Frame) -> Peer:
    """Find who sent a frame. Raises ValueError."""
    return Peer.parse(str(frame.get("User-Id")))


def lock(path: Path) -> int:
    """Be the only hub of a run directory, until the process ends; return the descriptor. Raises BlockingIOError.

    Nobody else may open it: who can open a file can lock it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    with contextlib.suppress(OSError):  # a full disk; the lock is what counts
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def lock_holder(path: Path) -> str:
    """Read who has the lock: a pid, or empty."""
    try:
        return path.read_bytes().strip().decode()
    except OSError:
        return ""
