"""What a manager leaves when it dies unasked: STATE/crashes/<instance>/<time>-<pid>.txt, to look into later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import yaml

from pubsub.codec import to_plain
from pubsub.topics import CrashReport, NamespaceConfig
from supervisor.control import ControlError
from supervisor.files import write_atomically
from supervisor.spawn import SpawnerGone, SpawnError

log = logging.getLogger(__name__)

KEPT_REPORTS = 3  # of one instance; the oldest go
LOG_BYTES = 64 * 1024  # of the end of the instance's log
KERNEL_BYTES = 256 * 1024  # of what the kernel has to say
KERNEL = "\n".join(
    f"echo '$ {command}'; {command} 2>&1"
    for command in (
        "ip -br link", "ip -br addr", "ip route show table all", "ip -6 route show table all", "ip rule",
        "nft -s list ruleset",
    )
)  # fmt: skip

# (instance, script, descriptor for its output) -> what went wrong: runs a script in the instance's namespace
Look = Callable[[str, str, int], Awaitable[str]]


class Death(msgspec.Struct, frozen=True):
    """How a manager ended."""

    pid: int
    how: str  # as `killed by SIGKILL`
    lived: float  # seconds since its birth or adoption


class Evidence:
    """The reports of all instances."""

    def __init__(self, state_dir: Path, log_of: Callable[[str], Path], look: Look) -> None:
        self._dir = state_dir / "crashes"
        self._log_of = log_of
        self._look = look
        self._looking = asyncio.Lock()  # one after another: when all die at once, being born again comes first
        self._known = {folder.name: _read(folder) for folder in self._dir.glob("*") if folder.is_dir()}

    def of(self, name: str) -> tuple[CrashReport, ...]:
        """Return an instance's reports, the newest last."""
        return self._known.get(name, ())

    def forget(self, name: str) -> None:
        """Delete the reports of an instance that is no more."""
        shutil.rmtree(self._dir / name, ignore_errors=True)
        self._known.pop(name, None)

    async def preserve(self, name: str, death: Death, config: NamespaceConfig | None) -> None:
        """Write a report: how it ended, its last words, what it was to do, and what the kernel has."""
        try:
            await self._preserve(name, death, config)
        except Exception:  # whatever it is: nobody dies of a report
            log.exception("instance %s: a defect; no crash report", name)

    async def _preserve(self, name: str, death: Death, config: NamespaceConfig | None) -> None:
        said = f"manager (pid {death.pid}) {death.how} after {death.lived:.1f} s"
        told = yaml.safe_dump(to_plain(config, sparse=True), sort_keys=False) if config is not None else "nothing\n"
        parts = [f"{said}\n", _titled("log", self._last_words(name)), _titled("it was told", told)]
        parts.append(_titled("the namespace", await self._kernel(name)))
        folder = self._dir / name
        path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{death.pid}.txt"  # the names are in order of time
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, "\n".join(parts).encode())
            for old in sorted(folder.glob("*.txt"))[:-KEPT_REPORTS]:
                old.unlink()
        except OSError as exc:
            log.warning("instance %s: no crash report: %s", name, exc)
        else:
            self._known[name] = _read(folder)
            log.warning("instance %s: crash report %s", name, path)

    def _last_words(self, name: str) -> str:
        with contextlib.suppress(OSError), self._log_of(name).open("rb") as file:
            file.seek(-min(LOG_BYTES, os.fstat(file.fileno()).st_size), os.SEEK_END)
            return file.read().decode(errors="replace")
        return ""

    async def _kernel(self, name: str) -> str:
        if self._looking.locked():
            return "not looked at: managers of other instances died at the same time\n"
        async with self._looking:
            output = os.memfd_create("evidence", os.MFD_CLOEXEC)
            try:
                failure = await self._look(name, KERNEL, output)
            except (OSError, TimeoutError, SpawnerGone, SpawnError, ControlError) as exc:
                failure = str(exc)
            finally:
                found = os.pread(output, KERNEL_BYTES, 0).decode(errors="replace")
                os.close(output)
        return f"{found}{failure}\n" if failure else found


def _titled(title: str, text: str) -> str:
    return f"--- {title}\n{text}"


def _read(folder: Path) -> tuple[CrashReport, ...]:
    """Return the reports that lie in a folder."""
    found = []
    for path in sorted(folder.glob("*.txt")):
        with contextlib.suppress(OSError), path.open(errors="replace") as file:
            found.append(CrashReport(at=os.fstat(file.fileno()).st_mtime, how=file.readline().strip(), path=str(path)))
    return tuple(found)
