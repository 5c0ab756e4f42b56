"""Finds a control group for the instances: one that outlives nsvisord's own service.

Processes and controllers can't be in one group (cgroup v2's rule of no internal processes), so a service whose managers
live on could not be started again by systemd before 254, which puts the main process into the service's own group. The
managers therefore have a scope of their own beside the service; it lasts as long as a process is in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from supervisor.containment import cgroup

log = logging.getLogger(__name__)

NONE: Final = "none"  # a word for --cgroup
FIRST: Final = "_nsvisor"  # group of the process that a new scope begins with; no instance has a `_` in its name
ANSWER_TIMEOUT: Final = 10.0  # seconds for systemd to make a scope
READY: Final = b"ready\n"


class Found(msgspec.Struct, frozen=True):
    """Where the instances' groups are made; `root` None: nowhere, `reason` says why."""

    root: Path | None
    reason: str = ""


@contextlib.asynccontextmanager
async def find_root(asked: str) -> AsyncIterator[Found]:
    """Find the group below which the instances' are made, or make it; what was made stays while something lives in it.

    `asked`: the folder of a group that nobody else uses, `none`, or empty: a scope of systemd's, where it started us.
    """
    if asked == NONE:
        yield Found(None, "not wanted: --cgroup none")
        return
    try:
        root, first = (Path(asked), None) if asked else await _scope()
    except OSError as exc:
        yield Found(None, str(exc))
        return
    try:
        yield _prepare(root, first)
    finally:
        if first is not None and first.stdin is not None:
            first.stdin.close()  # then it ends
            first.wait()


def _prepare(root: Path, first: subprocess.Popen[bytes] | None) -> Found:
    try:
        if lacking := cgroup.lacking(root):
            return Found(None, f"{root} has no controller {lacking}")
        if first is not None:
            (root / FIRST).mkdir(exist_ok=True)
            (root / FIRST / cgroup.PROCS).write_text(str(first.pid))
        cgroup.enable(root)
    except OSError as exc:
        return Found(None, f"{root} can't be used: {exc.strerror}")
    return Found(root)


async def _scope() -> tuple[Path, subprocess.Popen[bytes] | None]:
    """Return the folder of our scope, and the process that it began with where it is new. Raises OSError."""
    mount, own = cgroup.mount_point(), cgroup.path_of("self")
    if mount is None or not own.endswith(".service") or "INVOCATION_ID" not in os.environ:
        raise OSError("not started by systemd with cgroup v2; --cgroup names one to use")
    if lacking := cgroup.lacking(mount):
        raise OSError(f"{mount} has no controller {lacking}")
    service = Path(own)
    root = Path(f"{mount}{service.with_name(f'{service.stem}-instances.scope')}")
    if cgroup.is_populated(root):
        return root, None
    return root, await asyncio.to_thread(_new_scope, root.name, service)


def _new_scope(unit: str, service: Path) -> subprocess.Popen[bytes]:
    """Have systemd make a scope beside a service; it needs a process to begin with, which waits for its input's end."""
    properties = ("Delegate=yes", "TasksMax=infinity", "TimeoutStopSec=10", f"Before={service.name}")
    argv = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={unit}", f"--slice={service.parent.name}"]
    argv += [f"--property={one}" for one in properties]
    argv += ["--description=Processes of nsvisor's instances", "--", "sh", "-c", "echo ready; read -r _"]
    first = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert first.stdin is not None, "asked for"
    assert first.stdout is not None, "asked for"
    with first.stdout as said:
        if not select.select([said], [], [], ANSWER_TIMEOUT)[0]:
            first.kill()
            raise OSError(f"systemd-run makes no scope within {ANSWER_TIMEOUT:g} s")
        if said.readline() != READY:
            first.stdin.close()
            raise OSError(f"systemd-run ended with {first.wait()}")
    log.info("scope %s made", unit)
    return first
