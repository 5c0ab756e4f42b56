"""The command socket of nsvisord, both ends: one request a connection, one answer, descriptors by SCM_RIGHTS.

Commands don't go by the bus: they need an answer, and `run` and `exec` hand over their caller's terminal. The caller is
known by SO_PEERCRED (unix(7)). Wire: a length of 4 bytes (big endian), then a msgpack map, in both directions; the
descriptors come with the first byte.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import grp
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # ships no types
import msgspec

from supervisor.waiting import readable

log = logging.getLogger(__name__)

NAME = "control.sock"
GROUP = "nsvisor"  # its members may use the socket, where the group exists
LIMIT = 64 * 2**20  # bytes of one message; a plan of a thousand instances has 4 MiB
MAX_FDS = 8
READ_TIMEOUT = 5.0  # seconds for a client to send its request
SO_PEERGROUPS = 59  # asm-generic/socket.h; absent from Python's socket
GROUPS_SIZE = 1024  # bytes: 256 supplementary groups, the most that Python asks the kernel for
RETRY = 0.5  # seconds until a call is taken again, where that failed
ANSWER_TIMEOUT = 120.0  # seconds that a client waits


class ControlError(Exception):
    """nsvisord refused or can't be reached; `code` is the exit code for the command line."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as the kernel says."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...]


class Request(msgspec.Struct, frozen=True):
    """One command. Its descriptors are closed when the answer is sent."""

    do: str
    body: dict[str, Any]
    fds: tuple[int, ...]
    caller: Caller


Handler = Callable[[Request], Awaitable[dict[str, Any]]]


def request(run_dir: Path, message: dict[str, Any], fds: list[int] | None = None) -> dict[str, Any]:
    """Ask the daemon of a run-dir, wait for its answer. For the command line. Raises ControlError."""
    path = run_dir / NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_TIMEOUT)
        try:
            sock.connect(str(path))
            socket.send_fds(sock, [frame(message)[:4]], fds or [])
            sock.sendall(frame(message)[4:])
            answer = msgpack.unpackb(receive_all(sock, struct.unpack(">I", receive_all(sock, 4))[0]))
        except PermissionError as exc:
            raise ControlError(f"{path}: not permitted; use root, or join the group {GROUP}", 7) from exc
        except TimeoutError as exc:
            raise ControlError(
                f"nsvisord gave no answer within {ANSWER_TIMEOUT:.0f} s; see `nsvisor doctor`", 5
            ) from exc
        except (OSError, EOFError) as exc:
            raise ControlError(
                f"nsvisord doesn't run for {run_dir} ({exc}); start it, or name its --run-dir", 4
            ) from exc
    if not answer.get("ok"):
        raise ControlError(answer.get("error", "no reason given"), answer.get("code", 1))
    return dict(answer)


def frame(message: dict[str, Any]) -> bytes:
    """Put the length before the map."""
    body: bytes = msgpack.packb(message)
    return struct.pack(">I", len(body)) + body


def receive_all(sock: socket.socket, size: int) -> bytes:
    """Read exactly so many bytes. Raises EOFError."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError("the connection ended")
        data += part
    return data


async def serve(run_dir: Path, handle: Handler) -> None:
    """Answer commands. Runs until cancelled; the socket is gone then."""
    path = run_dir / NAME
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        bind(listener, path)
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    connection, _ = await asyncio.get_running_loop().sock_accept(listener)
                except OSError as exc:  # as EMFILE: whoever called waits in the kernel's queue
                    log.warning("control socket: %s; trying again", exc)
                    await asyncio.sleep(RETRY)
                else:
                    group.create_task(answer(connection, handle))
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def bind(listener: socket.socket, path: Path) -> None:
    """Make the socket for root and the group; it never stands open for anybody else."""
    path.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    with contextlib.suppress(KeyError):
        os.chown(path, 0, grp.getgrnam(GROUP).gr_gid)
        path.chmod(0o660)
    listener.listen(64)


async def answer(connection: socket.socket, handle: Handler) -> None:
    """Read one request, do it, send the answer. A bad client gets an error, and harms nobody else."""
    fds: list[int] = []
    with connection:
        try:
            try:
                async with asyncio.timeout(READ_TIMEOUT):
                    body = await read_request(connection, fds)
                response = {
                    "ok": True,
                    **await handle(Request(str(body.get("do")), body, tuple(fds), caller_of(connection))),
                }
            except ControlError as exc:
                response = {"ok": False, "error": str(exc), "code": exc.code}
            except (ValueError, TypeError, KeyError, EOFError, TimeoutError, msgpack.UnpackException) as exc:
                log.warning("control socket: bad request: %s: %s", type(exc).__name__, exc)
                response = {"ok": False, "error": f"bad request: {exc}", "code": 2}
            except Exception:  # one command's defect must not end the daemon
                log.exception("control socket: a command failed")
                response = {"ok": False, "error": "nsvisord has a defect there; its log has the details", "code": 1}
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().sock_sendall(connection, frame(response))
        finally:
            for fd in fds:
                os.close(fd)


async def read_request(connection: socket.socket, fds: list[int]) -> dict[str, Any]:
    """Read length, descriptors and map; the descriptors are in `fds` at once, so that they are closed in any case."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    head = b""
    while not head:
        try:
            head, ancillary, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            await readable(connection.fileno())
            continue
        if not head:
            raise EOFError("the connection ended")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(data[: len(data) - len(data) % received.itemsize])
                fds.extend(received)
    if len(head) < 4:
        raise ValueError("a torn length")
    size = struct.unpack(">I", head)[0]
    if size > LIMIT:
        raise ValueError(f"a request of {size} bytes; at most {LIMIT}")
    received_body = bytearray()
    while len(received_body) < size:
        part = await loop.sock_recv(connection, size - len(received_body))
        if not part:
            raise EOFError("the connection ended")
        received_body += part
    body = msgpack.unpackb(bytes(received_body))
    if not isinstance(body, dict):
        raise TypeError("a request is a map")
    return body


def caller_of(connection: socket.socket) -> Caller:
    """Ask the kernel who is at the other end."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    groups = array.array("I")
    groups.frombytes(connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, GROUPS_SIZE))
    return Caller(pid, uid, gid, tuple(groups))
