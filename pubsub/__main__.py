"""Run the hub: `python -m pubsub --run-dir R --state-dir S [--uid N --gid N]`.

Started as root it makes its folders, gives them to the uid, and is that uid for the rest of its life.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import sys
from pathlib import Path

from pubsub import hub
from pubsub.hub_socket import lock_holder

PR_SET_NO_NEW_PRIVS = 38  # prctl(2)
PR_SET_DUMPABLE = 4  # prctl(2); lost by setresuid, and with it our own /proc/self/fd
log = logging.getLogger("pubsub.hub")


def main() -> int:
    """Run until SIGTERM; 1 when another hub has the run directory."""
    parser = argparse.ArgumentParser(prog="python -m pubsub", description="Carry the bus of nsvisor.")
    parser.add_argument("--run-dir", type=Path, default=Path("/run/nsvisor"))
    parser.add_argument("--state-dir", type=Path, default=Path("/var/lib/nsvisor"))
    parser.add_argument("--uid", type=int, help="user to run as")
    parser.add_argument("--gid", type=int, help="group to run as")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="hub: %(levelname)s: %(message)s")
    run_dir, state_dir = options.run_dir.absolute(), options.state_dir.absolute()
    uid = os.geteuid() if options.uid is None else options.uid
    gid = os.getegid() if options.gid is None else options.gid
    _make_folder(run_dir / "bus", 0o755, uid, gid)
    _make_folder(state_dir / "bus", 0o700, uid, gid)
    _become(uid, gid)
    try:
        asyncio.run(hub.run(run_dir, state_dir))
    except BlockingIOError:
        log.error("another hub serves %s: pid %s", run_dir, lock_holder(run_dir / "bus" / "hub.lock"))  # noqa: TRY400
        return 1
    except OSError as exc:
        log.error("%s", exc)  # noqa: TRY400  # an administrator needs the reason, no trace
        return 1
    return 0


def _make_folder(path: Path, mode: int, uid: int, gid: int) -> None:
    """Make a folder of the hub's. Its parent is root's, so nobody can have put a link in its place."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.mkdir(mode=mode, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(path, uid, gid, follow_symlinks=False)


def _become(uid: int, gid: int) -> None:
    """Drop to the uid for good. Raises PermissionError when that isn't possible."""
    if (uid, gid) != (os.geteuid(), os.getegid()):
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")


if __name__ == "__main__":
    sys.exit(main())
