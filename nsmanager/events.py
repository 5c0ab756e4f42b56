"""Hear that something in a network namespace changed: which thing is not asked, for the kernel is read again anyway."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys

from nsmanager.marks import HOST_SETS, NFT_TABLE
from nsmanager.netfilter import messages
from nsmanager.netlink import (
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    SOL_NETLINK,
    attributes,
    string,
)

ROUTE_GROUPS = (
    1,  # RTNLGRP_LINK
    3,  # RTNLGRP_NEIGH: only what `_is_idle` leaves
    5,  # RTNLGRP_IPV4_IFADDR
    7,  # RTNLGRP_IPV4_ROUTE
    8,  # RTNLGRP_IPV4_RULE
    9,  # RTNLGRP_IPV6_IFADDR
    11,  # RTNLGRP_IPV6_ROUTE
    19,  # RTNLGRP_IPV6_RULE
    24,  # RTNLGRP_IPV4_NETCONF: forwarding, rp_filter
    25,  # RTNLGRP_IPV6_NETCONF
)
NETFILTER_GROUPS = (7,)  # NFNLGRP_NFTABLES: every transaction
RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29
AF_BRIDGE = 7  # forwarding entries of bridges come by the same group
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80  # of the low byte of the state
# Types of messages of nftables, and attributes that name table and set of elements: see linux/netfilter/nf_tables.h
NEWSETELEM, DELSETELEM, NEWGEN = (10 << 8 | kind for kind in (12, 14, 15))
LIST_TABLE, LIST_SET = 1, 2
NFGENMSG = 4  # bytes before the attributes
RECEIVE_SIZE = 65536  # bytes
QUIET = 0.003  # seconds without an event that end a burst
LONGEST = 0.05  # seconds after which a burst is answered though it goes on


class KernelEvents:
    """Two event sockets of the network namespace of the thread that made it, watched by the running loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.happened = asyncio.Event()
        self._is_idle = {
            _listen(NETLINK_ROUTE, ROUTE_GROUPS): _is_of_others,
            _listen(NETLINK_NETFILTER, NETFILTER_GROUPS): _is_of_answers,
        }
        self.sockets = [*self._is_idle]
        for one in self.sockets:
            self.loop.add_reader(one.fileno(), self._drain, one)

    def close(self) -> None:
        """Stop listening."""
        for one in self.sockets:
            self.loop.remove_reader(one.fileno())
            one.close()

    async def changed(self) -> None:
        """Return after the next event, when its burst is over."""
        await self.happened.wait()
        latest = self.loop.time() + LONGEST
        while self.loop.time() < latest:
            self.happened.clear()
            try:
                async with asyncio.timeout(QUIET):
                    await self.happened.wait()
            except TimeoutError:
                break
        self.happened.clear()

    def forget(self) -> None:
        """Drop what has happened so far: called right before the kernel is read."""
        for one in self.sockets:
            self._drain(one)
        self.happened.clear()

    def _drain(self, one: socket.socket) -> None:
        while True:
            try:
                if self._is_idle[one](one.recv(RECEIVE_SIZE)):
                    continue
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:  # ENOBUFS: events were lost, so something changed
                    raise
            self.happened.set()


def _is_of_others(message: bytes) -> bool:
    """Tell whether an event is only the life of neighbours that aren't ours, which are permanent (rtnetlink(7))."""
    kind = int.from_bytes(message[4:6], sys.byteorder)
    if kind not in (RTM_NEWNEIGH, RTM_DELNEIGH):
        return False
    # One that goes doesn't tell any more what it was, but for that of a group of receivers.
    idle = not message[24] & NUD_PERMANENT if kind == RTM_NEWNEIGH else message[24] & NUD_NOARP
    return message[16] == AF_BRIDGE or bool(idle)


def _is_of_answers(data: bytes) -> bool:
    """Tell whether messages of nftables are only of elements that an answer of DNS brought: no part of what is planned.

    A generation begins after each transaction; what it changed was told before, each by a message of its own.
    """
    for kind, _, body in messages(data):
        if kind == NEWGEN:
            continue
        if kind not in (NEWSETELEM, DELSETELEM):
            return False
        found = attributes(body, NFGENMSG)
        if string(found.get(LIST_TABLE)) != NFT_TABLE or not string(found.get(LIST_SET)).startswith(HOST_SETS):
            return False
    return True


def _listen(protocol: int, groups: tuple[int, ...]) -> socket.socket:
    one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    one.bind((0, 0))
    for group in groups:
        one.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
    return one
