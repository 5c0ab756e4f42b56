"""Bounds what each uid without full rights may send a second, so that a flood costs the others nothing.

What is over the limit is dropped unread. Once there is room again the hub greets the client anew; a client then tells
everything from the start, as after a reconnect: so the last value of each key arrives all the same. Who goes on far
over the limit loses its connections, and is not let in for a while.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from pubsub.acl import Rate

BURST = 2.0  # seconds' worth that may come at once: a manager that begins tells all it has
REST = 1.0  # seconds' worth that must be free again before a client is greeted anew
PATIENCE = 10  # times the limit of a second that may be dropped in one second; each costs the hub some microseconds
SHUT_OUT = 10.0  # seconds for which a uid that went on is not let in
ROUTES_LIMIT = 64  # clients of one uid that are greeted anew; it has 32 connections
NOTABLE = 0.1  # of a limit: what is less isn't told, so that who sends little costs nobody a row
log = logging.getLogger("pubsub.hub")


@dataclasses.dataclass
class Counts:
    """What came of a uid."""

    messages: int = 0
    bytes: int = 0


@dataclasses.dataclass
class Account:
    """One uid's."""

    rate: Rate
    seen: float  # monotonic, when the two below were reckoned up
    messages: float  # that it may still send now
    room: float  # bytes, likewise
    sent: Counts = dataclasses.field(default_factory=Counts)  # since the last report
    dropped: int = 0  # messages, ever
    shut_out: int = 0  # times, ever
    wasted: Counts = dataclasses.field(default_factory=Counts)  # dropped in this second
    second: float = 0.0  # monotonic, when that began
    until: float = 0.0  # monotonic: it isn't let in before
    routes: dict[bytes, None] = dataclasses.field(default_factory=dict)  # of clients whose messages were dropped


class Rates:
    """All uids' accounts. `rate_of` tells what a uid may; None: it isn't bounded. Times are monotonic seconds."""

    def __init__(self, rate_of: Callable[[int], Rate | None]) -> None:
        self._rate_of = rate_of
        self._accounts: dict[int, Account] = {}

    def admit(self, uid: int, route: bytes, size: int, now: float) -> bool:
        """Tell whether a message may be read; of one that may not its sender is greeted anew later."""
        account = self._account(uid, now)
        if account is None:
            return True
        account.sent.messages += 1
        account.sent.bytes += size
        if not account.routes and account.messages >= 1.0 and account.room > 0.0:
            account.messages -= 1.0
            account.room -= size  # below zero: a large one is paid for afterwards
            return True
        if not account.routes:
            log.warning("uid %d sends more than it may: some of it is dropped, and told again later", uid)
        account.dropped += 1
        if len(account.routes) < ROUTES_LIMIT:
            account.routes[route] = None
        if now - account.second > 1.0:
            account.second, account.wasted = now, Counts()
        account.wasted.messages += 1
        account.wasted.bytes += size
        return False

    def excessive(self, uid: int, now: float) -> bool:
        """Tell whether the uid went on far over its limit and must go now; it isn't let in again for a while then."""
        account = self._accounts.get(uid)
        if account is None or account.until > now:
            return False
        wasted, rate = account.wasted, account.rate
        if wasted.messages <= PATIENCE * rate.messages and wasted.bytes <= PATIENCE * rate.bytes:
            return False
        account.until = now + SHUT_OUT
        account.shut_out += 1
        account.wasted = Counts()
        log.warning("uid %d goes on far over what it may send: not let in for %g s", uid, SHUT_OUT)
        return True

    def is_shut_out(self, uid: int, now: float) -> bool:
        """Tell whether the uid isn't let in now."""
        account = self._accounts.get(uid)
        return account is not None and account.until > now

    def recovered(self, now: float) -> list[bytes]:
        """Return the routes of clients that are to be greeted anew: of uids that have room again."""
        found: list[bytes] = []
        for uid, account in tuple(self._accounts.items()):
            if account.routes and account.until <= now:
                bounded, rate = self._account(uid, now), account.rate
                if bounded is None:
                    found += account.routes
                elif account.messages >= REST * rate.messages and account.room >= REST * rate.bytes:
                    found += account.routes
                    account.routes = {}
        return found

    def report(self, seconds: float) -> dict[int, tuple[int, int, int, int]]:
        """Return messages and bytes a second since the last report, and what was dropped and shut out ever, by uid.

        Who sent little is left out, as long as nothing of it was ever dropped.
        """
        found = {}
        self._accounts = {uid: account for uid, account in self._accounts.items() if self._rate_of(uid) is not None}
        for uid, account in self._accounts.items():
            messages, size = account.sent.messages / seconds, account.sent.bytes / seconds
            account.sent = Counts()
            rate = account.rate
            notable = messages > NOTABLE * rate.messages or size > NOTABLE * rate.bytes
            if notable or account.dropped:
                told = (round(messages), round(size)) if notable else (0, 0)
                found[uid] = (*told, account.dropped, account.shut_out)
        return found

    def _account(self, uid: int, now: float) -> Account | None:
        """Reckon up what the uid may send by now."""
        rate = self._rate_of(uid)
        account = self._accounts.get(uid)
        if rate is None:
            self._accounts.pop(uid, None)
            return None
        if account is None:
            account = Account(rate, now, BURST * rate.messages, BURST * rate.bytes)
            self._accounts[uid] = account
        passed = now - account.seen
        account.rate, account.seen = rate, now
        account.messages = min(account.messages + passed * rate.messages, BURST * rate.messages)
        account.room = min(account.room + passed * rate.bytes, BURST * rate.bytes)
        return account
