"""What the supervisor must find again after its own restart, beside the kernel: RUN/state/<instance>.json.

A record without its namespace, or whose namespace has another inode, is a left-over and claims nothing; a namespace
without a record is somebody else's.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from supervisor.child import Identity
from supervisor.files import read_or_none, write_atomically

log = logging.getLogger(__name__)


class AppRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """An app that runs or is attached: who stands over it."""

    kind: str  # run, container, netns, tap, link
    process: Identity | None  # the guardian, or the container's process; None: it has none
    port: str  # ifname on the bridge
    netns: str = ""  # of a container or netns: path of its network namespace
    inode: int = 0  # of that
    ifname: str = ""  # in there
    begun: bool = False  # being attached: nobody knows how far it came

    @property
    def pid(self) -> int:
        """Its process's pid; 0: it has none."""
        return self.process.pid if self.process else 0


class LentLink(msgspec.Struct, frozen=True, omit_defaults=True):
    """A link of the host as it was before it was lent to an instance."""

    mac: str
    mtu: int  # bytes
    up: bool
    group: int = 0
    alias: str = ""
    master: str = ""  # ifname of the bridge that it was a port of
    at: float = 0.0  # seconds since boot, of the look: lifetimes count from here
    addresses: tuple[bytes, ...] = ()  # as RTM_NEWADDR's bodies, without index
    routes: tuple[bytes, ...] = ()  # of the main table, as RTM_NEWROUTE's bodies, without index
    sysctls: dict[str, str] = {}  # those that differ from the host's defaults


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One instance's record."""

    slot: int
    inode: int = 0  # of its network namespace; 0: is being made
    manager: Identity | None = None
    apps: dict[str, AppRecord] = {}
    lent: dict[str, LentLink] = {}  # by ifname: to be given back
    shared: dict[str, tuple[str, ...]] = {}  # ifindex of an uplink -> MAC addresses that it takes frames for


class Records:
    """The records by instance name; each change is in the file before it counts."""

    def __init__(self, run_dir: Path) -> None:
        self._dir = run_dir / "state"
        self._dir.mkdir(mode=0o700, exist_ok=True)
        self.entries: dict[str, Record] = {}
        for path in sorted(self._dir.glob("*.json")):
            data = read_or_none(path)
            try:
                self.entries[path.stem] = msgspec.json.decode(data or b"", type=Record)
            except msgspec.DecodeError as exc:
                log.warning("%s is damaged (%s): left out", path, exc)

    def __getitem__(self, name: str) -> Record:
        return self.entries[name]

    def get(self, name: str) -> Record | None:
        """Return an instance's record, None when it has none."""
        return self.entries.get(name)

    def put(self, name: str, record: Record) -> None:
        """Write a record, if it changed."""
        if self.entries.get(name) != record:
            write_atomically(self._dir / f"{name}.json", msgspec.json.encode(record))
            self.entries[name] = record

    def remove(self, name: str) -> None:
        """Forget an instance."""
        (self._dir / f"{name}.json").unlink(missing_ok=True)
        self.entries.pop(name, None)
