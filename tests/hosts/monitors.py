"""What a process that listens to the kernel's netlink events is about, as /proc/PID/net/netlink tells."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.hosts.waiting import DEADLINE, wait_until


def wait_until_it_listens(monitor: subprocess.Popen[str]) -> None:
    """Return when a process has a netlink socket that is in a group."""
    wait_until(lambda: _unread(monitor.pid), what="a monitor's socket")


def settle(monitor: subprocess.Popen[str]) -> None:
    """Return when a monitor has told all that the kernel told it: it sleeps, and nothing waits in its socket."""
    wait_until(lambda: set(_unread(monitor.pid)) == {0} and _sleeps(monitor.pid), what="a monitor's silence")


def stop(monitor: subprocess.Popen[str]) -> None:
    """End a monitor once it has told all."""
    settle(monitor)
    monitor.terminate()
    monitor.wait(DEADLINE)


def _unread(pid: int) -> list[int]:
    """Return how many bytes wait in each of its netlink sockets that is in a group."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/netlink").read_text().splitlines()[1:]]
    return [int(row[4]) for row in rows if row[2] == str(pid) and int(row[3], 16)]


def _sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
