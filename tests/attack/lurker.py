"""A process of a taken-over instance that lies in wait for the next manager to be born. Runs in place of a main."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from pathlib import Path

from tests.attack.attacks import check, libc

SYS_PIDFD_GETFD = 438
DESCRIPTORS = range(3, 64)


def main(name: str, run_dir: str, _state_dir: str) -> None:
    """On SIGUSR1 try to steal the descriptors of the process that `newborn` names; write `stolen.json`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    os.write(1, b"idle\n")
    folder = Path(run_dir, "instances", name)
    while True:
        signal.sigwait({signal.SIGUSR1})
        stolen = steal(int((folder / "newborn").read_text()))
        (folder / "stolen.new").write_text(json.dumps(stolen))
        (folder / "stolen.new").rename(folder / "stolen.json")


def steal(pid: int) -> list[str]:
    """Return what the descriptors are that could be had."""
    pidfd = os.pidfd_open(pid)
    found = []
    for number in DESCRIPTORS:
        ctypes.set_errno(0)
        try:
            fd = check(libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0))
        except OSError:
            continue
        found.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        os.close(fd)
    return found
