"""What was given to which instance for life: its slot (uid range, link addresses), and a subnet that nobody configured.

Kept in STATE/ledger.json. An entry goes only when the instance's files are gone, so no uid range is re-used while files
of it remain.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path

import msgspec

from supervisor.allocation import first_slot, free_slot, free_subnet, uid_ranges
from supervisor.child import all_uids
from supervisor.files import read_or_none, write_atomically

log = logging.getLogger(__name__)

SUBID_FILES = (Path("/etc/subuid"), Path("/etc/subgid"))


class Entry(msgspec.Struct, frozen=True):
    """One instance's lot."""

    slot: int
    subnet: str = ""  # automatic; empty: it has a configured one


class Ledger:
    """The entries by instance name; each change is on disk before it is used."""

    def __init__(self, state_dir: Path) -> None:
        self._path: Path | None = state_dir / "ledger.json"
        self._start = first_slot(str(state_dir))
        self.trouble = ""  # why the last change could not be written
        self.entries: dict[str, Entry] = {}
        data = read_or_none(self._path)
        if data is not None:
            try:
                self.entries = msgspec.json.decode(data, type=dict[str, Entry])
            except msgspec.DecodeError as exc:
                aside = self._path.with_suffix(f".bad-{int(time.time())}")
                self._path.rename(aside)
                log.warning(
                    "%s is damaged (%s), set aside as %s; running instances keep their lot", self._path, exc, aside
                )

    def rehearsal(self) -> Ledger:
        """Return a copy whose changes are written nowhere."""
        copy = Ledger.__new__(Ledger)
        copy._path, copy._start, copy.entries = None, self._start, dict(self.entries)  # noqa: SLF001 (of the same class)
        copy.trouble = ""
        return copy

    def keep(self, name: str, slot: int) -> None:
        """Note the slot of an instance that was found running without an entry; it has it, written down or not."""
        if name not in self.entries:
            entries = {**self.entries, name: Entry(slot)}
            if not self._write(entries):
                self.entries = entries

    def admit(self, names: Iterable[str], limit: int) -> dict[str, str]:
        """Give each name without an entry a slot below `limit`. Returns the names that got none, with the reason."""
        new: dict[str, Entry] = {}
        refused: dict[str, str] = {}
        foreign = foreign_uids() if any(name not in self.entries for name in names) else []
        taken = {entry.slot for entry in self.entries.values()}
        for name in names:
            if name in self.entries:
                if self.entries[name].slot >= limit:
                    refused[name] = (
                        f"its lot {self.entries[name].slot} is not in settings.link_pool any more, which has room for "
                        f"{limit}; widen the pool, or delete the instance and create it again"
                    )
                continue
            try:
                new[name] = Entry(free_slot(self._start, taken, foreign, limit))
                taken.add(new[name].slot)
            except LookupError as exc:
                refused[name] = str(exc)
        if new and not self._write({**self.entries, **new}):
            refused |= dict.fromkeys(new, self.trouble)
        return refused

    def subnets(
        self, names: Iterable[str], pool: IPv4Network, taken: Iterable[IPv4Network]
    ) -> tuple[dict[str, IPv4Network], dict[str, str]]:
        """Return the automatic subnets of admitted instances, and who got none, with the reason."""
        entries = dict(self.entries)
        used = [*taken, *(IPv4Network(entry.subnet) for entry in entries.values() if entry.subnet)]
        refused: dict[str, str] = {}
        for name in names:
            if not entries[name].subnet:
                try:
                    used.append(free_subnet(pool, used))
                    entries[name] = Entry(entries[name].slot, str(used[-1]))
                except LookupError as exc:
                    refused[name] = str(exc)
        if entries != self.entries and not self._write(entries):
            refused |= {name: self.trouble for name in names if name not in refused and not self.entries[name].subnet}
        return {name: IPv4Network(entries[name].subnet) for name in names if name not in refused}, refused

    def forget(self, name: str) -> None:
        """Free what a deleted instance had. Its files must be gone. Raises OSError."""
        if name in self.entries and not self._write({k: v for k, v in self.entries.items() if k != name}):
            raise OSError(self.trouble)

    def _write(self, entries: dict[str, Entry]) -> bool:
        """Write the entries, and take them over when they are written; else tell why in `trouble`."""
        if self._path is not None:
            try:
                write_atomically(self._path, msgspec.json.format(msgspec.json.encode(entries)), durable=True)
            except OSError as exc:
                self.trouble = f"what is given to it can't be written to {self._path}: {exc.strerror}"
                log.error("%s; trying again", self.trouble)  # noqa: TRY400  # the words tell all
                return False
        self.trouble = ""
        self.entries = entries
        return True


def foreign_uids() -> list[range]:
    """Return uid ranges that are not ours to give: subordinate ids, and those of all running processes."""
    ranges = []
    for path in SUBID_FILES:
        data = read_or_none(path)
        ranges += uid_ranges(data.decode(errors="replace")) if data else []
    return ranges + [range(uid, uid + 1) for uid in {uid for _, uid in all_uids()}]
