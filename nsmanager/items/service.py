"""A service: a process that puts itself into the background or answers at a socket, with its files.

Supervised by the manager.

Beside its files lies `NAME.running`: which process it is, and the digests of what it was started with and last told to
read. So a manager that comes back adopts what runs, and starts or reloads only what differs.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from nsmanager.item import Item, Key, NotYet, Observed, Refused

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

RUNNING_SUFFIX = ".running"
DIGEST_LENGTH = 32  # hexadecimal digits
# Before it becomes the command: whoever starts it may die at any moment, and the next one must find it.
WRITES_PID = ("sh", "-c", 'echo $$ > "$0" && exec "$@"')
INSTALL_RETRY = 5.0  # seconds between two looks whether what is missing was installed


class Service(Item, frozen=True):
    """A service as it should run."""

    stage: ClassVar[int] = 70

    name: str
    # Must return 0 when the service works, and leave it running in the background; with `socket` it stays itself.
    argv: tuple[str, ...]
    pid_file: str
    files: tuple[tuple[str, str], ...] = ()  # path and text; a change needs a restart
    reloadable: tuple[tuple[str, str], ...] = ()  # path and text; a change needs a SIGHUP
    ifname: str = ""  # link that it serves; when that is made anew, the service is started anew
    socket: str = ""  # path; who connects there knows that it works
    needs: tuple[tuple[str, str], ...] = ()  # files of programs, and the Debian packages that have them

    @property
    def key(self) -> Key:
        return ("service", self.name)

    def __str__(self) -> str:
        return " ".join(self.argv)

    def undo(self) -> str:
        return f"kill $(cat {self.pid_file})"

    def redo(self, old: Observed, /) -> str:
        if isinstance(old, Running) and self._needs_start(old):
            return f"{old.undo()}; {self}"
        return f"kill -HUP $(cat {self.pid_file})"

    def matches(self, observed: Observed) -> bool:
        return isinstance(observed, Running) and not self._needs_start(observed) and not self._needs_reload(observed)

    def _needs_start(self, old: Running) -> bool:
        written = {path for path, _ in self.files} <= old.files_as_planned
        return old.started != self.start_digest or not written or not old.same_link

    def _needs_reload(self, old: Running) -> bool:
        written = {path for path, _ in self.reloadable} <= old.files_as_planned
        return old.loaded != self.load_digest or not written

    @property
    def start_digest(self) -> str:
        """Digest of all that the service reads once."""
        return _digest(self.argv, self.pid_file, self.files)

    @property
    def load_digest(self) -> str:
        """Digest of all that the service reads again on SIGHUP."""
        return _digest(self.reloadable)

    async def create(self, ns: Namespace) -> None:
        """Start it and wait until it works. Raises Refused when it says no, and in the pause after it died."""
        delay = ns.children.wait_to_start(self.name)
        if delay > 0:
            raise Refused(ns.children.last_failure(self.name) or "died; started again after a pause", delay)
        await self._start(ns)

    async def replace(self, ns: Namespace, old: Observed, /) -> None:
        """Tell it to read its files again, or start it anew where that isn't enough."""
        if isinstance(old, Running) and self._needs_start(old):
            await ns.children.stop(self.name)
            ns.remove_locked(Path(self.pid_file))  # by a helper of what was stopped, which ends a moment later
            await self._start(ns)
            return
        self._write(ns, self.reloadable)
        ns.children.signal(self.name, signal.SIGHUP)
        self._remember(ns)

    async def delete(self, ns: Namespace) -> None:
        await ns.children.stop(self.name)

    async def _start(self, ns: Namespace) -> None:
        if self.ifname and not ns.ifindex(self.ifname):
            raise NotYet(f"link {self.ifname} is not there yet")
        if missing := self._missing():
            raise Refused(f"{self.name} is not installed: apt-get install {missing}", INSTALL_RETRY)
        self._write(ns, self.files + self.reloadable)
        ns.children.count_start(self.name)
        if failure := await self._launch(ns):
            ns.children.count_failure(self.name, failure)
            raise Refused(failure, ns.children.wait_to_start(self.name))
        self._remember(ns)

    async def _launch(self, ns: Namespace) -> str:
        """Run the command and find its process; return what went wrong."""
        try:
            if self.socket:
                return await ns.children.start(self.name, (*WRITES_PID, self.pid_file, *self.argv), self.socket)
            status = await ns.children.launch(self.argv)
        except TimeoutError:
            return "doesn't say that it works; see the instance's log"
        except OSError as exc:
            return f"{exc.strerror}; is it installed?"
        if status:
            return f"ended with status {status}; see the instance's log"
        pid = _told_pid(ns, self)
        if not pid.isdecimal() or not ns.children.adopt(self.name, int(pid)):
            return f"died at once; its pid file says {pid!r}"
        return ""

    def _missing(self) -> str:
        """Return the packages of what isn't there."""
        return " ".join(sorted({package for path, package in self.needs if not Path(path).exists()}))

    def _write(self, ns: Namespace, files: tuple[tuple[str, str], ...]) -> None:
        for path, text in files:
            if ns.read_file(Path(path)) != text:
                ns.write_file(Path(path), text)

    def _remember(self, ns: Namespace) -> None:
        child = ns.children.children[self.name]
        words = (child.pid, child.identity, ns.ifindex(self.ifname), self.start_digest, self.load_digest)
        ns.write_file(_running_file(self), " ".join(str(word) for word in words) + "\n")

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return the services that run, planned or not."""
        if ns.directory is None:
            return ()
        services = {item.name: item for item in planned}
        names = {path.stem for path in ns.directory.glob("*" + RUNNING_SUFFIX)} | services.keys()
        found = (_observe_one(ns, name, services.get(name)) for name in sorted(names))
        return [running for running in found if running is not None]


class Running(Observed, frozen=True):
    """A service as it runs."""

    stage: ClassVar[int] = Service.stage

    name: str
    pid: int
    started: str  # digests, as told by its file
    loaded: str
    same_link: bool  # its link is the one that it was started on
    files_as_planned: frozenset[str]  # paths of the planned files that have the planned text

    @property
    def key(self) -> Key:
        return ("service", self.name)

    def undo(self) -> str:
        return f"kill {self.pid}"

    async def delete(self, ns: Namespace) -> None:
        await ns.children.stop(self.name)


def _observe_one(ns: Namespace, name: str, service: Service | None) -> Running | None:
    """Return a service that is alive and is the one that was started, watching it from now on."""
    told = (_recorded(ns, name), _unrecorded(ns, service))
    words = next((words for words in told if words and _adopt(ns, name, *map(int, words[:2]))), None)
    if words is None:
        return None
    pid, _, index = (int(word) for word in words[:3])
    files = service.files + service.reloadable if service is not None else ()
    as_planned = frozenset(path for path, text in files if ns.read_file(Path(path)) == text)
    found = ns.ifindex(service.ifname) if service is not None and service.ifname else index
    same_link = found == index or (not found and index in ns.ifnames)  # which somebody renamed
    return Running(name, pid, words[3], words[4], same_link, as_planned)


def _adopt(ns: Namespace, name: str, pid: int, identity: int) -> bool:
    """Watch a process, if it is alive and still that one; an identity of 0 isn't known."""
    found = ns.children.adopt(name, pid)
    if found and identity and found != identity:  # the pid was used again
        ns.children.forget(name)
        return False
    return bool(found)


def _recorded(ns: Namespace, name: str) -> list[str]:
    """Return what the record says: pid, identity, ifindex and two digests; nothing when there is no good one."""
    assert ns.directory is not None
    words = (ns.read_file(ns.directory / (name + RUNNING_SUFFIX)) or "").split()
    return words if len(words) == 5 and all(word.isdecimal() for word in words[:3]) else []


def _unrecorded(ns: Namespace, service: Service | None) -> list[str]:
    """Return what is known of a service whose starter couldn't write the record, or died before: it is started anew."""
    pid = _told_pid(ns, service) if service is not None else ""
    return [pid, "0", "0", "-", "-"] if pid.isdecimal() else []


def _told_pid(ns: Namespace, service: Service) -> str:
    """Return what the pid file says: its first line, for radvd writes over a killed one's and doesn't cut it off."""
    return (ns.read_file(Path(service.pid_file)) or "").partition("\n")[0]


def _running_file(service: Service) -> Path:
    return Path(service.pid_file).with_name(service.name + RUNNING_SUFFIX)


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:DIGEST_LENGTH]
