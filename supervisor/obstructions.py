"""What of others' rules keeps instances from the outside now: looked at whenever the host's rules have changed.

Tables of ours alone cost one question to the kernel. Those of others are listed by nft(8), a process of its own: what
they hold may be more than libnftables bears.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
from collections.abc import Callable, Iterator, Sequence

from nsmanager.namespace import Namespace
from supervisor.names import host_end
from supervisor.passage.obstacles import Obstacle, Passage, is_foreign, obstacles, told_apart
from supervisor.passage.ruleset import Ruleset
from supervisor.plan import InstancePlan, Plan

TIMEOUT = 10.0  # seconds for one listing; it takes milliseconds
PAUSE = 1.0  # seconds between two looks: who changes rules seldom changes one alone

log = logging.getLogger(__name__)

Passages = dict[str, tuple[Passage, ...]]


class Obstructions:
    """By instance, in words, what drops its packets."""

    def __init__(self, ns: Namespace, changed: Callable[[], None]) -> None:
        self.found: dict[str, tuple[str, ...]] = {}
        self._ns = ns
        self._changed = changed
        self._due = asyncio.Event()
        self._plan = Plan()
        self._seen: tuple[int, Passages] | None = None

    def look_soon(self, plan: Plan) -> None:
        """Have the rules looked at, where they or the instances have changed."""
        self._plan = plan
        self._due.set()

    async def run(self) -> None:
        """Look when it is due. Runs until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self._look()
            await asyncio.sleep(PAUSE)

    async def _look(self) -> None:
        passages = {name: tuple(passages_of(name, one)) for name, one in self._plan.instances.items()}
        now = (self._ns.nft_generation(), passages)
        if now == self._seen:
            return
        tables = [table for table in self._ns.nft_tables() if is_foreign(*table)] if any(passages.values()) else []
        found = await asyncio.to_thread(look, tables, passages) if tables else {}
        self._seen = now
        if found != self.found:
            for name, words in found.items():
                if words != self.found.get(name):
                    log.warning("instance %s: %s", name, "; ".join(words))
            self.found = found
            self._changed()


def passages_of(name: str, instance: InstancePlan) -> Iterator[Passage]:
    """Yield the ways that an instance's packets must be able to take on the host."""
    if instance.bound is None:
        return
    mapped = [(uplink.ifname, (port.protocol, port.outer)) for _, port, uplink in instance.portmaps]
    ends = (instance.bound.inner_end, instance.bound.inner_end6)
    for way in instance.bound.shared:
        uplink = way.uplink
        for inner, addresses in zip(ends, (uplink.addresses, uplink.addresses6), strict=True):
            if inner is not None and addresses:
                ports: list[tuple[str, int] | None] = [port for ifname, port in mapped if ifname == uplink.ifname]
                for port in ports or [None]:
                    yield Passage(host_end(name), inner, uplink.ifname, way.mark, port)


def look(tables: Sequence[tuple[str, str]], passages: Passages) -> dict[str, tuple[str, ...]]:
    """List tables and judge passages; takes milliseconds. Returns in words what is in an instance's way, if anything.

    Raises OSError, subprocess.TimeoutExpired.
    """
    listings = [(_nft("-j", table), _nft("-a", table)) for table in tables]
    ruleset = merged([(listed, text) for listed, text in listings if listed])
    links = {one.link for some in passages.values() for one in some}
    alone = told_apart([text for _, text in listings], links)
    judged: dict[tuple[object, ...], tuple[Obstacle, ...]] = {}
    found = {}
    for name, some in passages.items():
        words: dict[str, None] = {}
        for one in some:
            alike = (one.link in alone and one.link, one.inner.version, one.uplink, one.mark, one.mapped)
            if alike not in judged:
                judged[alike] = obstacles(ruleset, one)
            words |= dict.fromkeys(map(str, judged[alike]))
        if words:
            found[name] = tuple(words)
    return found


def merged(listings: Sequence[tuple[str, str]]) -> Ruleset:
    """Return the rules of several tables, each as nft lists it: as JSON, and as text with handles."""
    objects = [one for listed, _ in listings for one in json.loads(listed)["nftables"]]
    return Ruleset(json.dumps({"nftables": objects}), "\n".join(text for _, text in listings))


def _nft(form: str, table: tuple[str, str]) -> str:
    """Return what nft prints of a table; nothing when that is gone, or nft isn't installed."""
    argv = ["nft", form, "-s", "-t", "list", "table", *table]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except FileNotFoundError:  # doctor asks for it
        return ""
    return done.stdout if done.returncode == 0 else ""
