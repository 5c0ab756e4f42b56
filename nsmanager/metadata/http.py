"""One HTTP connection: requests read and answered until it ends, with limits. See RFC 9112; h11 does the protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping

import h11

from nsmanager.metadata.pages import TEXT, Answer

HEADERS = 16_384  # bytes of a request line and headers at most
BODY = 65_536  # bytes of a request's body at most; nobody reads it
PATIENCE = 15.0  # seconds for a request, with the pause before it, and its answer
FAREWELL = 1.0  # seconds from the last answer until the connection is closed over the other end's head
RECEIVE_SIZE = 8192
Respond = Callable[[str, str, Mapping[str, str]], Answer]  # method, path, headers


async def converse(conn: socket.socket, respond: Respond) -> None:
    """Answer requests until the other end closes, breaks the protocol, or is too slow."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADERS)
    try:
        while not _is_over(http):
            async with asyncio.timeout(PATIENCE):
                if not await _one(conn, http, respond):
                    return
        async with asyncio.timeout(FAREWELL):
            await _hear_out(conn)
    except (TimeoutError, OSError, h11.LocalProtocolError):
        return


def _is_over(http: h11.Connection) -> bool:
    """Tell whether there can't be one more request; else be ready for it."""
    if (http.our_state, http.their_state) == (h11.DONE, h11.DONE):
        http.start_next_cycle()
    return http.our_state != h11.IDLE


async def _hear_out(conn: socket.socket) -> None:
    """Read what still comes: closing over unread data would take the answer away from the other end."""
    conn.shutdown(socket.SHUT_WR)
    size = 0
    while size < 4 * BODY and (data := await asyncio.get_running_loop().sock_recv(conn, RECEIVE_SIZE)):
        size += len(data)


async def _one(conn: socket.socket, http: h11.Connection, respond: Respond) -> bool:
    """Read and answer one request; False when there is none any more."""
    try:
        request = await _request(conn, http)
        if request is None:
            return False
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        method = request.method.decode("latin-1")
        answer = respond(method, request.target.decode("latin-1"), headers)
    except h11.RemoteProtocolError as exc:
        method, answer = "", Answer(exc.error_status_hint, f"{exc}\n")
        if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
    body = answer.body.encode()
    fields = [
        ("Content-Type", answer.kind or TEXT), ("Content-Length", str(len(body))), ("Server", "nsvisor"),
        ("Cache-Control", "no-store"), *answer.headers,
    ]  # fmt: skip
    data = http.send(h11.Response(status_code=answer.status, headers=fields)) or b""
    if method != "HEAD":
        data += http.send(h11.Data(data=body)) or b""
    data += http.send(h11.EndOfMessage()) or b""
    await asyncio.get_running_loop().sock_sendall(conn, data)
    return True


async def _request(conn: socket.socket, http: h11.Connection) -> h11.Request | None:
    """Return the next request when it is whole; None at the end. Raises h11.RemoteProtocolError."""
    loop = asyncio.get_running_loop()
    request: h11.Request | None = None
    size = 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if http.they_are_waiting_for_100_continue:
                go_on = http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
                await loop.sock_sendall(conn, go_on)
            http.receive_data(await loop.sock_recv(conn, RECEIVE_SIZE))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > BODY:
                raise h11.RemoteProtocolError("the body is too long", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage):
            return request
        else:  # closed
            return None
