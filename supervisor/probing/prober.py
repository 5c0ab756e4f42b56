"""Probes all uplinks, all at the same time, and tells whose health changed."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pubsub.topics import ProbeStatus
from pubsub.values import Interval
from supervisor.facts import Health
from supervisor.names import name_number
from supervisor.probing.echo import echo
from supervisor.probing.endpoints import Unserved, http, tcp
from supervisor.probing.health import judge, status
from supervisor.probing.memory import Memory, is_stale
from supervisor.probing.nexthop import Arp, solicit
from supervisor.probing.probes import Kind, Probe, Target, probes
from supervisor.probing.track import Result, Track, advance, anew

log = logging.getLogger(__name__)

ASK = {Kind.ND: solicit, Kind.ECHO: echo, Kind.TCP: tcp, Kind.HTTP: http}
SPREAD = 0.5  # seconds over which the first tries are spread, so that a hundred probes don't ask together
SAVE_PAUSE = 1.0  # seconds between two writes of what the probes found; a change of up or down is written at once
TELL_PAUSE = 1.0  # seconds between two tellings where only a reason has other words; all else is told at once


class Change(enum.IntEnum):
    """How much of an uplink's health changed; the greater one counts."""

    NONE = 0
    WORDS = 1
    HEALTH = 2


class Prober:
    """Follows uplinks; `run` probes them.

    The state of a probe is kept while the same is asked by a link of the same name, and ten minutes longer: a link that
    is down has no gateway for a while. While a link is down or has no address, its probes rest. What the host's link
    itself tells, carrier and addresses, is not judged here.
    """

    def __init__(self, run_dir: Path, changed: Callable[[], None]) -> None:
        self._memory = Memory(run_dir)
        self._changed = changed
        self._tracks = self._memory.load(time.time())  # by key, also of probes that are not followed now
        self._arp = Arp()
        self._targets: Mapping[str, Target] = {}  # by ifname
        self._followed: dict[str, tuple[Probe, ...]] = {}  # by ifname
        self._active: dict[str, Probe] = {}  # by key: of links that can be used
        self._health: dict[str, Health] = {}
        self._tasks: dict[str, tuple[Probe, asyncio.Task[None]]] = {}  # by key
        self._due = asyncio.Event()  # the tasks are not what `_active` says
        self._unsaved = asyncio.Event()
        self._urgent = asyncio.Event()  # what is unsaved is a change of up or down
        self._untold = asyncio.Event()  # a reason has other words

    async def run(self) -> None:
        """Probe. Runs until cancelled; what was found is on disk then."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_saved())
                group.create_task(self._keep_told())
                while True:
                    self._adjust(group)
                    await self._due.wait()
                    self._due.clear()
        finally:
            self._tasks.clear()
            self._arp.keep(())
            if self._followed:  # else nothing of ours is left on the host, and no file should be
                self._memory.save(self._tracks)

    def follow(self, targets: Mapping[str, Target]) -> None:
        """Probe these uplinks from now on, by ifname, and no others."""
        self._followed = {ifname: self._probes(ifname, target) for ifname, target in targets.items()}
        self._targets = targets = dict(targets)
        before = self._active
        self._active = {
            probe.key: probe
            for ifname, target in targets.items()
            for probe in self._followed[ifname]
            if not target.uplink.trouble
        }
        if self._active == before:
            self._judge_all()
            return
        for key, old in before.items():
            if key in self._tracks and (key not in self._active or self._active[key].way != old.way):
                self._tracks[key] = anew(self._tracks[key])
        self._forget_old(time.time())
        self._judge_all()
        self._due.set()

    def health(self) -> dict[str, Health]:
        """Return what was found of each followed uplink, by ifname. What wasn't probed yet is healthy."""
        return dict(self._health)

    def statuses(self, ifname: str) -> tuple[ProbeStatus, ...]:
        """Return what is told of an uplink's probes, its gateways' first."""
        return tuple(status(probe, self._track(probe)) for probe in self._followed.get(ifname, ()))

    def _probes(self, ifname: str, target: Target) -> tuple[Probe, ...]:
        """Return an uplink's probes. A link that is down may have no gateway now: what it has to prove stays."""
        known = self._targets.get(ifname)
        if known and known.config == target.config and target.uplink.trouble:
            return self._followed[ifname]
        return probes(target)

    def _track(self, probe: Probe) -> Track:
        return self._tracks.get(probe.key, Track())

    def _adjust(self, group: asyncio.TaskGroup) -> None:
        """Have exactly the tasks that are wanted."""
        for key, (probe, task) in list(self._tasks.items()):
            if self._active.get(key) != probe:
                task.cancel()
                del self._tasks[key]
        self._arp.keep(probe for found in self._followed.values() for probe in found)
        for key, probe in self._active.items():
            if key not in self._tasks:
                self._tasks[key] = (probe, group.create_task(self._keep_probing(probe), name=f"probe {key}"))

    async def _keep_probing(self, probe: Probe) -> None:
        """Ask again and again. Ends only by being cancelled."""
        loop = asyncio.get_running_loop()
        start = loop.time() + min(SPREAD, probe.interval) * name_number(probe.key) / 2**32
        while True:
            await asyncio.sleep(start - loop.time())
            try:
                self._record(probe, await self._ask(probe))
            except Exception:  # a defect of ours proves nothing against the uplink, and mustn't end the other probes
                log.exception("uplink %s: the probe of %s has a defect", probe.way.ifname, probe.what)
            start = max(start + probe.interval, loop.time())

    def _record(self, probe: Probe, result: Result) -> None:
        """Take in one result, and tell what it changes. One that comes after the end of its probe counts no more."""
        if self._active.get(probe.key) != probe:
            return
        before = self._track(probe)
        track = advance(before, result, probe.counts, time.time())
        self._tracks[probe.key] = track
        self._unsaved.set()
        if track.up != before.up:
            self._log_change(probe, track)
            self._urgent.set()
        self._tell(self._judge(probe.way.ifname))

    def _log_change(self, probe: Probe, track: Track) -> None:
        if track.up:
            log.info("uplink %s: %s answers again, %d in a row", probe.way.ifname, probe.what, track.run)
        elif probe.endpoint:
            log.warning("uplink %s: %s fails since %d probes: %s", probe.way.ifname, probe.what, track.run, track.error)
        else:
            log.warning(
                "uplink %s: %s silent since %d probes: %s", probe.way.ifname, probe.what, track.run, track.error
            )

    def _judge_all(self) -> None:
        """Bring the health of all up to date."""
        for ifname in self._health.keys() - self._followed.keys():
            del self._health[ifname]
        self._tell(max((self._judge(ifname) for ifname in self._followed), default=Change.NONE))

    def _judge(self, ifname: str) -> Change:
        """Bring an uplink's health up to date; return what changed. One that is new changed if it isn't healthy."""
        before = self._health.get(ifname)
        health = judge((probe, self._track(probe)) for probe in self._followed[ifname])
        self._health[ifname] = health
        if health.healthy != (before or Health()).healthy:
            if health.healthy:
                log.info("uplink %s: healthy", ifname)
            else:
                log.warning("uplink %s: not healthy: %s", ifname, health.reason)
        if before and (before.healthy, before.endpoints_up) == (health.healthy, health.endpoints_up):
            return Change.NONE if before.reason == health.reason else Change.WORDS
        return Change.HEALTH if before or not health.healthy else Change.NONE

    def _tell(self, change: Change) -> None:
        """Tell of a change: what matters at once, other words of a reason once a second."""
        if change == Change.HEALTH:
            self._changed()
        elif change == Change.WORDS:
            self._untold.set()

    def _forget_old(self, now: float) -> None:
        """Forget what was found of what isn't followed any more."""
        followed = {probe.key for probe in itertools.chain.from_iterable(self._followed.values())}
        for key in [key for key, track in self._tracks.items() if key not in followed and is_stale(track, now)]:
            del self._tracks[key]

    async def _ask(self, probe: Probe) -> Result:
        """Ask once. What the kernel or the other side has against it is in the result, too."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        ask = self._arp.ask if probe.kind == Kind.ARP else ASK[probe.kind]
        try:
            await ask(probe, began + probe.timeout)
        except TimeoutError as exc:
            # The kernel's own timeout has a number.
            return Result(error=words(exc) if exc.errno else f"{exc} within {Interval(probe.timeout)}")
        except (OSError, Unserved) as exc:
            return Result(error=words(exc))
        return Result(latency=(loop.time() - began) * 1000)

    async def _keep_told(self) -> None:
        """Tell of reasons whose words changed."""
        while True:
            await self._untold.wait()
            self._untold.clear()
            self._changed()
            await asyncio.sleep(TELL_PAUSE)

    async def _keep_saved(self) -> None:
        """Write down what was found, whenever something was."""
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            self._urgent.clear()
            self._memory.save(self._tracks)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAVE_PAUSE):
                    await self._urgent.wait()


def words(exc: Exception) -> str:
    """Return the kernel's words as part of a sentence."""
    text = (isinstance(exc, OSError) and exc.strerror) or str(exc)
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
