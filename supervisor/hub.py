"""Keeps the hub running: a process of its own, without rights, that outlives the supervisor."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from supervisor.backoff import delay
from supervisor.child import Child, all_uids
from supervisor.names import HUB_UID

log = logging.getLogger(__name__)

USER = "nsvisor"  # where the system has it


async def keep_hub_running(run_dir: Path, state_dir: Path) -> None:
    """Adopt the running hub or start one, again and again. Runs until cancelled; the hub lives on then."""
    deaths: list[float] = []
    while True:
        child = running_hub(run_dir)
        if child is None:
            await asyncio.sleep(delay(deaths, time.monotonic()))
            child = Child.of(start_hub(run_dir, state_dir))
            log.info("hub: started, pid %s", child.pid if child else "?")
        else:
            log.info("hub: adopted, pid %s", child.pid)
        how = "ended at once"
        if child is not None:
            try:
                how = await child.ended()
            finally:
                child.close()
        deaths.append(time.monotonic())
        log.warning("hub: %s; starting it again", how)


def running_hub(run_dir: Path) -> Child | None:
    """Return the hub that holds the lock of this run-dir, None when there is none."""
    try:
        with open(run_dir / "bus" / "hub.lock", "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return hub_of(holder(lock))
    except FileNotFoundError:
        pass
    return None


def holder(lock: BinaryIO) -> int:
    """Return who has a lock: as its file says, or the kernel where a full disk left that empty; 0: nobody knows."""
    if (said := lock.read().strip()).isdigit():
        return int(said)
    file = os.fstat(lock.fileno())
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()  # number, FLOCK, ADVISORY, WRITE, pid, place: proc_locks(5)
        if fields[1] == "FLOCK" and fields[5] == place:
            return int(fields[4])
    return 0


def hub_of(pid: int) -> Child | None:
    """Take hold of a hub by the pid that it wrote: the file is the hub's, and no other user's process is believed."""
    child = Child.of(pid)
    if child is not None and dict(all_uids()).get(pid) not in (0, hub_user()[0]):
        child.close()
        return None
    return child


async def stop_hub(run_dir: Path) -> None:
    """End the hub; its keeper must have ended before."""
    if (child := running_hub(run_dir)) is not None:
        log.info("hub: %s", await child.stop())
        child.close()


def start_hub(run_dir: Path, state_dir: Path) -> int:
    """Start the hub in a session of its own, logging to where we log. Returns its pid."""
    uid, gid = hub_user()
    argv = [sys.executable, "-m", "pubsub", "--run-dir", str(run_dir), "--state-dir", str(state_dir)]
    # It finds our packages by the same path as we did, and is watched by pidfd: Popen's own bookkeeping is not used.
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    environ.pop("NOTIFY_SOCKET", None)
    return subprocess.Popen(
        [*argv, "--uid", str(uid), "--gid", str(gid)], stdin=subprocess.DEVNULL, start_new_session=True, env=environ
    ).pid


def hub_user() -> tuple[int, int]:
    """Return uid and gid for the hub: of the user nsvisor, else ids that nobody has."""
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        return HUB_UID, HUB_UID
    return user.pw_uid, user.pw_gid
