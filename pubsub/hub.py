"""The hub as a process: one ROUTER socket, one loop. It can be killed at any moment; its clients heal by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import resource
import signal
import time
from pathlib import Path

import zmq

from pubsub.acl import Acl
from pubsub.hub_broker import Broker, PeerGone
from pubsub.hub_memory import Guard
from pubsub.hub_rates import Rates
from pubsub.hub_socket import Counter, Doorkeeper, lock, peer_of, router
from pubsub.limits import MIB
from pubsub.sockets import descriptor, events
from pubsub.store import Store

DRAIN_MESSAGES = 64  # read in one turn, before readers and timers have theirs
DRAIN_BYTES = 1 * MIB  # likewise
LOOK_INTERVAL = 0.1  # seconds between two looks at the memory; a flood brings 3 GB a second
TICK_LOOKS = 5  # of these between two looks at all that is due by time
HUB_PARTS = 2  # of every message: route and frame
log = logging.getLogger("pubsub.hub")


async def run(run_dir: Path, state_dir: Path) -> None:
    """Carry the bus until SIGTERM or SIGINT. Raises BlockingIOError when another hub has the run directory."""
    _raise_file_limit()
    descriptor = lock(run_dir / "bus" / "hub.lock")
    context = zmq.Context()
    hub = Hub(context, run_dir / "bus" / "hub.sock", Store(run_dir / "bus" / "tables", state_dir / "bus"))
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    log.info("the hub is ready, pid %d", os.getpid())
    try:
        for look in itertools.count():
            hub.guard.look()
            if look % TICK_LOOKS == 0:
                hub.tick()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL):
                    await stopped.wait()
                    break
    finally:
        hub.close()
        context.destroy(linger=0)
        os.close(descriptor)


class Hub:
    """The sockets around a broker."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], path: Path, store: Store) -> None:
        self._loop = asyncio.get_running_loop()
        self._acl = Acl(os.geteuid())
        self._rates = Rates(self._acl.rate_of)
        self._broker = Broker(self._acl, store, self._send, self._rates)
        self._broker.load()
        store.synced = self._soon
        self._doorkeeper = Doorkeeper(context, self._may_enter)
        self._router = router(context, path)
        self._counter = Counter(self._router, self._acl.is_full)
        self.guard = Guard(self._broker.held, self._counter.end_senders)
        self._scheduled: asyncio.Handle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._later: asyncio.Handle | None = None
        self._loop.add_reader(descriptor(self._doorkeeper.socket), self._look)
        self._loop.add_reader(descriptor(self._router), self._turn)
        self._loop.add_reader(descriptor(self._counter.socket), self._look)
        self._look()
        self._turn()

    def tick(self) -> None:
        """Do what is due by time."""
        self._look()
        self._broker.tick()
        for route in self._rates.recovered(time.monotonic()):
            self._broker.greet(route)
        self._turn()

    def close(self) -> None:
        """Stop; clients come back to the next hub."""
        self._loop.remove_reader(descriptor(self._doorkeeper.socket))
        self._loop.remove_reader(descriptor(self._router))
        self._loop.remove_reader(descriptor(self._counter.socket))
        for handle in (self._scheduled, self._retry, self._later):
            if handle is not None:
                handle.cancel()
        self._broker.close()

    def _may_enter(self, uid: int) -> bool:
        if self.guard.is_blocked(uid) or self._rates.is_shut_out(uid, time.monotonic()):
            return False
        return self._acl.is_known(uid)

    def _look(self) -> None:
        """See who is at the door; the descriptors tell nothing before the first look."""
        self._later = None
        if self._doorkeeper.answer_some() | self._counter.count_some():
            self._later = self._loop.call_soon(self._look)

    def _turn(self) -> None:
        """Read some, do it, write it down, tell it. The descriptor is edge-triggered: look again at what is left."""
        self._scheduled = None
        size = 0
        for _ in range(DRAIN_MESSAGES):
            try:
                parts = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            size += len(parts[-1].buffer)
            self._receive(parts)
            if size > DRAIN_BYTES:
                break
        self._broker.pump()
        if events(self._router) & zmq.POLLIN:
            self._soon()
        self._plan_retry()

    def _receive(self, parts: list[zmq.Frame]) -> None:
        try:
            peer = peer_of(parts[-1])
        except (ValueError, zmq.ZMQError):
            self._broker.drop(None, "no identity")
            return
        now = time.monotonic()
        if not self._rates.admit(peer.uid, parts[0].bytes, len(parts[-1].buffer), now):
            if self._rates.excessive(peer.uid, now):
                self._counter.end(peer.uid)
            return
        if len(parts) == HUB_PARTS:
            self._broker.receive(parts[0].bytes, peer, parts[1].bytes)
        else:
            self._broker.drop(peer, f"{len(parts)} parts")

    def _send(self, route: bytes, message: bytes) -> bool:
        """Send, if the peer takes it now. Raises PeerGone."""
        try:
            try:
                self._router.send_multipart([route, message], zmq.NOBLOCK)
            except zmq.Again:
                events(self._router)  # send() itself learns up to a millisecond late that a peer has taken something
                self._router.send_multipart([route, message], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as exc:
            if exc.errno == zmq.EHOSTUNREACH:
                raise PeerGone from exc
            raise
        return True

    def _soon(self) -> None:
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._turn)

    def _plan_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        at = self._broker.next_retry()
        if at is not None:
            self._retry = self._loop.call_later(max(0.0, at - time.monotonic()), self._turn)


def _raise_file_limit() -> None:
    """Take all descriptors that we may have: libzmq aborts when accept(2) finds none."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
