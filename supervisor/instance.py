"""One instance's life on the supervisor's side: its namespace stands, its manager runs, whatever happens to either."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pubsub.topics import NamespaceStatus
from supervisor import birth, folders, syscalls
from supervisor.backoff import delay, is_crash_loop, recent_deaths
from supervisor.child import Child, lineage, processes_of
from supervisor.containment import Containment
from supervisor.evidence import Death
from supervisor.names import UIDS_PER_INSTANCE, uid_base
from supervisor.records import Record, Records
from supervisor.spawn import SpawnerGone, SpawnError
from supervisor.status import View
from supervisor.zygote import Zygote

log = logging.getLogger(__name__)

HEARTBEAT_LIMIT = 10.0  # seconds without a beat (one each 2 s): the manager hangs
BIRTH_TIMEOUT = 20.0  # seconds: a hostile process of the same instance can stop a newborn, and must stop nobody else
LINK_PATIENCE = 5.0  # seconds that a birth waits for the namespace's link
RETRY = 2.0  # seconds between two tries to make a namespace whose name is taken
KILL_DEADLINE = 10.0  # seconds for all processes of a deleted instance to vanish after SIGKILL
MANAGER_COMM = "nsm-"  # how the names of managers' processes begin (see spawner.py)


class Paths(msgspec.Struct, frozen=True):
    """The three folders of one daemon."""

    config: Path
    run: Path
    state: Path

    def instance(self, name: str) -> Path:
        """The folder of the manager's and its services' volatile files."""
        return self.run / "instances" / name

    def lasting(self, name: str) -> Path:
        """The folder of the files that survive a reboot."""
        return self.state / "instances" / name

    def log(self, name: str) -> Path:
        """Where the manager and its services write what they have to say."""
        return self.run / "logs" / f"{name}.log"


class Instance:
    """The life of one instance; `live` runs it, everything else can be read at any time."""

    def __init__(
        self,
        name: str,
        slot: int,
        paths: Paths,
        records: Records,
        zygote: Zygote,
        *,
        containment: Containment,
        stands: Callable[[], None],
        changed: Callable[[], None],
        died: Callable[[Death], None],
    ) -> None:
        self.name = name
        self.slot = slot
        self.uids = range(uid_base(slot), uid_base(slot) + UIDS_PER_INSTANCE)
        self.inode = 0  # of its namespace; 0: it doesn't stand
        self.linked = asyncio.Event()  # the host had its turn since the namespace stands: there is a link, or none soon
        self.manager: Child | None = None
        self.deaths: list[float] = []  # of managers, on the monotonic clock
        self.restarts = 0
        self.trouble = ""  # why there is no namespace or no manager
        self.last_error = ""
        self._since = 0.0  # when the manager was born or adopted, on the monotonic clock
        self._known = False  # every manager of it is on record: one that an earlier supervisor bore last may not be
        self._paths = paths
        self._records = records
        self._zygote = zygote
        self._containment = containment
        self._stands = stands  # called once the namespace stands
        self._changed = changed  # called when anything else here changed
        self._died = died  # called when a manager died unasked
        self._replaced: Child | None = None  # the manager that was asked to make room for another
        self._making: asyncio.Future[int] | None = None  # the namespace: goes on when `live` is cancelled

    async def live(self) -> None:
        """Make or adopt the namespace, then keep a manager in it. Runs until cancelled; both live on then."""
        while not self.inode:
            try:
                await self.ensure_namespace()
            except (OSError, SpawnerGone, SpawnError) as exc:
                self.fail(f"instance {self.name}: {exc}")
                await asyncio.sleep(RETRY)
            except Exception as exc:  # whatever it is, it is this instance's trouble
                log.exception("instance %s: a defect", self.name)
                self.fail(f"instance {self.name}: a defect of nsvisord: {exc}")
                await asyncio.sleep(RETRY)
        self.trouble = ""
        self._stands()
        while True:
            try:
                await self.keep_manager()
            except (OSError, SpawnerGone, SpawnError) as exc:
                self.fail(f"instance {self.name}: its manager can't be started: {exc}")
                self.deaths.append(time.monotonic())
            except Exception as exc:  # as above
                log.exception("instance %s: a defect", self.name)
                self.fail(f"instance {self.name}: a defect of nsvisord: {exc}")
                self.deaths.append(time.monotonic())

    async def ensure_namespace(self) -> None:
        """Adopt our namespace or make it. Raises FileExistsError when the name is somebody else's."""
        record = self._records.get(self.name)
        # A link that was lent to a namespace that is gone is on the host again, and to be made as it was.
        anew = Record(slot=self.slot, lent=record.lent if record else {}, shared=record.shared if record else {})
        inode = birth.namespace_inode(self.name) or self.repin(record)
        if inode:
            if not self._is_ours(inode, record):
                raise FileExistsError(
                    f"a network namespace {birth.NETNS_DIR}/{self.name} exists and is not ours; "
                    f"rename the instance, or delete it with `ip netns del {self.name}`"
                )
            self.linked.set()  # or as good as: whoever made the namespace made the link, and what isn't so is repaired
        else:
            self._records.put(self.name, anew)  # the intent, before the deed
            self._known = True
            self._making = asyncio.ensure_future(self._make_namespace())
            inode = await asyncio.shield(self._making)
            log.info("instance %s: ip netns add %s", self.name, self.name)
            record = None
        self._records.put(self.name, msgspec.structs.replace(record or anew, inode=inode))
        self.inode = inode

    async def _make_namespace(self) -> int:
        return await (await self._zygote.current()).make_namespace(self.name, self.uids.start, UIDS_PER_INSTANCE)

    def _is_ours(self, inode: int, record: Record | None) -> bool:
        """Tell whether we made the namespace of our name: a record says so, or says that we were about to."""
        if record is None:
            return False
        return record.inode == inode or (not record.inode and namespace_owner(self.name) == self.uids.start)

    def repin(self, record: Record | None) -> int:
        """Pin the namespace again where only its manager still holds it. Returns its inode, 0 when there is none."""
        manager = Child.find(record.manager) if record else None
        if record is None or manager is None:
            return 0
        try:
            log.warning("instance %s: its pin was gone: ip netns attach %s %s", self.name, self.name, manager.pid)
            birth.clear_pin(self.name)
            return birth.pin(self.name, f"/proc/{manager.pid}/ns/net")
        finally:
            manager.close()

    def look_after(self, now: float) -> None:
        """See to what no event tells of: its pin, its record, and deaths of long ago."""
        self._check_pin()
        self.record_manager()
        self._forget_deaths(now)

    def _check_pin(self) -> None:
        """Pin the namespace again when somebody deleted the pin, as `ip netns del` does."""
        if self.inode and self.manager and birth.namespace_inode(self.name) is None:
            try:
                self.repin(self._records.get(self.name))
            except OSError as exc:
                self.fail(f"instance {self.name}: its namespace can't be pinned again: {exc}")

    async def keep_manager(self) -> None:
        """Adopt the manager or start one, and wait for its end."""
        await asyncio.sleep(delay(self.deaths, time.monotonic()))  # whatever failed, the look for one too
        child = self.running_manager()
        if child is None:
            child = await self.start_manager()
        else:
            log.info("instance %s: manager adopted, pid %s", self.name, child.pid)
        self.manager, self._since = child, time.monotonic()
        self.limit()
        self.trouble = ""
        self.record_manager()
        self._changed()
        try:
            how = await child.ended()
        finally:
            self.manager = None
            child.close()
        if child is self._replaced:
            log.info("instance %s: manager (pid %s) made room for another", self.name, child.pid)
            return
        how = self._containment.explain(self.name, how)
        self._died(Death(child.pid, how, time.monotonic() - self._since))
        self.restarts += 1
        self.deaths.append(time.monotonic())
        self.fail(f"instance {self.name}: manager (pid {child.pid}) {how}")

    def limit(self) -> None:
        """Hold the manager and its services to the limits of now, where they aren't."""
        if self.manager is not None:
            self._containment.gather(self.name, self.manager.pid, lambda: processes_of(self.uids, self.inode))

    def record_manager(self) -> None:
        """Note who the manager is, where that isn't noted yet: on a full disk it lives on, and is noted later.

        Until then a new supervisor finds it by its namespace and uids.
        """
        if self.manager is not None:
            record = msgspec.structs.replace(self._records[self.name], manager=self.manager.identity)
            try:
                self._records.put(self.name, record)
            except OSError as exc:
                self.fail(f"instance {self.name}: its manager isn't noted: {exc}")

    def replace_manager(self) -> bool:
        """Ask the manager to make room for another, which is born at once; False when there is none."""
        if self.manager is None:
            return False
        self._replaced = self.manager
        self.manager.signal(signal.SIGTERM)
        return True

    def running_manager(self) -> Child | None:
        """Return the manager that runs already: the recorded one, or one born just before a supervisor died."""
        found = Child.find(self._records[self.name].manager)
        if found is not None or self._known:
            return found
        self._known = True
        for pid in processes_of(self.uids, self.inode):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().startswith(MANAGER_COMM):
                    return Child.of(pid)
        return None

    async def start_manager(self) -> Child:
        """Have a manager born in the namespace. Raises OSError, SpawnerGone.

        It is born when its link is there: it makes everything at once then, and not what it can, and later the rest.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINK_PATIENCE):
                await self.linked.wait()
        log_fd = os.open(self._paths.log(self.name), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            async with self._zygote.births, asyncio.timeout(BIRTH_TIMEOUT):
                pid = await (await self._zygote.current()).spawn_manager(
                    *(self.name, self.uids.start, self._paths.run, self._paths.state, log_fd),
                    hold=self._containment.manager(self.name),
                )
        except TimeoutError as exc:
            raise TimeoutError(f"its birth takes longer than {BIRTH_TIMEOUT:g} s; trying again") from exc
        finally:
            os.close(log_fd)
        child = Child.of(pid)
        if child is None:
            raise ProcessLookupError(f"pid {pid} died at birth; see `nsvisor logs {self.name}`")
        log.info("instance %s: manager started, pid %s", self.name, pid)
        return child

    def hear(self, status: NamespaceStatus) -> None:
        """Take what the manager says: in the place of a service that can't be started stands something else."""
        if any(service.error for service in status.services):
            self._end_strangers({service.pid for service in status.services if service.pid})

    def _end_strangers(self, services: set[int]) -> None:
        """End what an earlier manager left and this one doesn't know: there was no room for its pid, or no time."""
        if self.manager is None:
            return
        known = {self.manager.pid, *services}
        for pid in processes_of(self.uids, self.inode):
            if known.isdisjoint(lineage(pid)):
                log.warning("instance %s: a service that its manager doesn't know: kill -KILL %d", self.name, pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def silence(self, now: float) -> float:
        """Return for how many seconds the manager has not beaten; 0.0 when there is none, or a young one."""
        if self.manager is None or now - self._since < HEARTBEAT_LIMIT:
            return 0.0
        return now - read_heartbeat(self._paths.instance(self.name) / "heartbeat")

    def check_heartbeat(self, now: float) -> None:
        """Kill the manager when it has not beaten for too long; `keep_manager` sees the rest."""
        silence = self.silence(now)
        if self.manager is not None and silence > HEARTBEAT_LIMIT:
            self.fail(f"instance {self.name}: manager (pid {self.manager.pid}) hangs: no heartbeat for {silence:.0f} s")
            self.manager.signal(signal.SIGKILL)

    def _forget_deaths(self, now: float) -> None:
        """Forget the deaths of long ago, and say so: what was a crash loop may be none any more."""
        recent = recent_deaths(self.deaths, now)
        if len(recent) < len(self.deaths):
            self.deaths = recent
            self._changed()

    def fail(self, text: str) -> None:
        """Note and log what went wrong, once."""
        if text != self.trouble:
            log.error("%s", text)
        self.trouble = self.last_error = text
        self._changed()

    def complete(self, view: View) -> View:
        """Add to a view what is known here."""
        return msgspec.structs.replace(
            view,
            netns=bool(self.inode),
            pid=self.manager.pid if self.manager else 0,
            restarts=self.restarts,
            crash_loop=is_crash_loop(self.deaths, time.monotonic()),
            trouble=self.trouble,
            last_error=self.last_error,
        )

    async def destroy(self, *, keep_files: bool) -> None:
        """End all its processes, delete its namespace and its files. Its `live` must have ended.

        `keep_files`: what survives a reboot stays. Raises OSError, and TimeoutError when a process can't be killed;
        then it can be called again.
        """
        async with asyncio.timeout(KILL_DEADLINE):
            await self._await_making()
            while (pids := list(processes_of(self.uids, self.inode))) or not self._containment.is_gone(self.name):
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self._containment.end(self.name)
                await asyncio.sleep(0.01)
        if self.inode and birth.namespace_inode(self.name) == self.inode:
            birth.delete_namespace(self.name)
            log.info("instance %s: ip netns del %s", self.name, self.name)
        self.inode = 0
        for path in (self._paths.instance(self.name), *(() if keep_files else (self._paths.lasting(self.name),))):
            try:
                await asyncio.to_thread(folders.remove, path)  # it may have made a million files
            except OSError as exc:
                if exc.errno in folders.SCARCE:
                    raise
                log.warning("instance %s: its files stay, remove %s: %s", self.name, path, exc)
        self._paths.log(self.name).unlink(missing_ok=True)
        self._records.remove(self.name)

    async def _await_making(self) -> None:
        """Know the namespace that was being made, whether we have heard of it or not."""
        if self._making is not None:
            with contextlib.suppress(OSError, SpawnerGone, SpawnError):
                await asyncio.shield(self._making)
        inode = birth.namespace_inode(self.name)
        if inode and self._is_ours(inode, self._records.get(self.name)):
            self.inode = inode


def namespace_owner(name: str) -> int:
    """Return the uid that made the user namespace of a pinned network namespace: of ours, an instance's first."""
    net = birth.open_pin(name)
    try:
        user = syscalls.owning_user_namespace(net)
    finally:
        os.close(net)
    try:
        return syscalls.owner_uid(user)
    finally:
        os.close(user)


def touched(file: os.stat_result) -> float:
    """Return when a file was last changed, on the monotonic clock; 0.0 of what is no file."""
    return time.monotonic() - (time.time() - file.st_mtime) if stat.S_ISREG(file.st_mode) else 0.0


def read_heartbeat(path: Path) -> float:
    """Return the time of the last beat on the monotonic clock; 0.0 when there is none. The manager owns the file.

    An empty file, as it is on a full disk, tells by the time of its last change. Who can't look knows of no silence.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        return time.monotonic() if exc.errno in folders.SCARCE else 0.0
    try:
        text = os.read(fd, 32).split(b"\n")[0]
        beat = float(text) if text else touched(os.fstat(fd))
        return beat if math.isfinite(beat) else 0.0  # no number would be less or more than another's
    except (OSError, ValueError):
        return 0.0
    finally:
        os.close(fd)
