"""Sockets that can leave by one uplink only, and waiting for them with a deadline.

A deadline is a time of the running loop. When it has passed there is one more look: if the daemon itself stood still,
an answer that came in time lies in the socket, and counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from supervisor.names import uplink_mark
from supervisor.probing.probes import Probe

IP_RECVERR = 11  # linux/in.h: tell of ICMP errors at once, also of those that may pass
IPV6_RECVERR = 25  # linux/in6.h
LOOKS = 64  # packets read before the loop has its turn: a flooded link must not stop the daemon


def open_bound(probe: Probe, kind: int, protocol: int) -> socket.socket:
    """Return a socket by which packets leave by the probe's uplink: its device, its mark, its address.

    Raises OSError; nothing is left open then. Addresses of IPv6 are left to the kernel, which chooses by RFC 6724 among
    those of the device. To a link-local address goes no mark: it needs no route, and the uplink's table may have none.
    """
    way, family = probe.way, socket.AF_INET if probe.address.version == 4 else socket.AF_INET6
    if not way.sources and (probe.address.version == 4 or not probe.address.is_link_local):
        raise OSError(f"{way.ifname} has no IPv{probe.address.version} address")
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, way.ifname.encode())
        if not probe.address.is_link_local:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, uplink_mark(way.ifindex))
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            sock.bind((str(way.sources[0]), 0))
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        stack.pop_all()
        return sock


def peer(probe: Probe, port: int = 0) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return the socket address of what is asked."""
    if probe.address.version == 4:
        return str(probe.address), port
    return str(probe.address), port, 0, probe.way.ifindex if probe.address.is_link_local else 0


async def ready(sock: socket.socket, deadline: float, *, write: bool = False) -> None:
    """Return when the socket can be read, or written, or at the deadline."""
    loop = asyncio.get_running_loop()
    happened = loop.create_future()

    def wake() -> None:
        if not happened.done():
            happened.set_result(None)

    timer = loop.call_at(deadline, wake)
    (loop.add_writer if write else loop.add_reader)(sock, wake)
    try:
        await happened
    finally:
        (loop.remove_writer if write else loop.remove_reader)(sock)
        timer.cancel()


async def read_until(sock: socket.socket, deadline: float, silence: str, look: Callable[[], bool]) -> None:
    """Call `look`, which reads once, until it returns True.

    Raises TimeoutError with the words of `silence` at the deadline, and what `look` raises.
    """
    loop = asyncio.get_running_loop()
    while True:
        expired = loop.time() >= deadline
        with contextlib.suppress(BlockingIOError):
            for _ in range(LOOKS):
                if look():
                    return
        if expired:
            raise TimeoutError(silence)
        await ready(sock, deadline)
