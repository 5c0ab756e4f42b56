"""Counts what is written to the kernel, from outside: by the kernel's monitors, and by a daemon's system calls.

A monitor tells of what changed, whoever did it; strace tells who tried, also where nothing came of it.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hosts import Host, monitors
from tests.hosts.host import ROOT

IP_MONITOR = ("ip", "-o", "monitor", "label", "all")
NFT_MONITOR = ("nft", "monitor")
BY_ITSELF = ("[NEIGH]",)  # what the kernel does alone: its neighbour entries grow old
CALLS = "sendto,sendmsg,openat,open,unlink,rename,mkdir,mount,execve"
# Without what ip(8) leaves empty behind its question, and without the file system that a command's mounts begin with.
TYPES = re.compile(r"(?<!nlmsg_len=0, )nlmsg_type=(?:(0x[0-9a-f]+)<<8\|)?(0x[0-9a-f]+|0)")
SYSCTL_WRITE = re.compile(r'openat\([^,]+, "/(?:proc/sys|sys)/(?!resolv\.conf")[^"]*", (0x[0-9a-f]+|0)')
ACCESS_MODE = 3  # O_WRONLY | O_RDWR
READS = {
    3,  # NLMSG_DONE
    *range(0x12, 0x60, 4),  # RTM_GET*: each third of four, see linux/rtnetlink.h
    *(0x0A00 + kind for kind in (1, 4, 7, 10, 13, 16, 19, 23)),  # NFT_MSG_GET*, see linux/netfilter/nf_tables.h
}
GENERATION = """
import struct
from nsmanager.netlink import NETLINK_NETFILTER, Netlink, attributes
answer = Netlink(NETLINK_NETFILTER).ask((10 << 8) | 16, bytes(4))
print(int.from_bytes(attributes(answer, 4)[1], "big"))
"""


@contextlib.contextmanager
def monitored(host: Host, *names: str) -> Iterator[dict[str, list[str]]]:
    """Gather all that the kernel tells of changes in the host and these namespaces, as `red ip` -> lines.

    The lines are complete after the context.
    """
    heard: dict[str, list[str]] = {}
    children = {}
    with contextlib.ExitStack() as stack:
        for netns in ("", *names):
            for argv in (IP_MONITOR, NFT_MONITOR):
                what = f"{netns or 'host'} {argv[0]}"
                output = stack.enter_context(host.path(f"/run/{what.replace(' ', '-')}.monitor").open("w+"))
                children[what] = host.popen(argv, netns=netns, stdout=output), output
        for child, _ in children.values():
            monitors.wait_until_it_listens(child)
        try:
            yield heard
        finally:
            for what, (child, output) in children.items():
                monitors.stop(child)
                output.seek(0)
                heard[what] = [line for line in output.read().splitlines() if not line.startswith(BY_ITSELF)]


def generations(host: Host, *names: str) -> dict[str, int]:
    """Return how many nft transactions there were so far, in the host and in these namespaces."""
    argv = [sys.executable, "-c", GENERATION]
    environment = {"PYTHONPATH": str(ROOT)}
    return {name: int(host.run(argv, netns=name, env=environment).stdout) for name in ("", *names)}


class TracedHost:
    """A host all of whose commands run under strace from their first instruction on, with all their offspring."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._traces: list[Path] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def popen(self, argv: list[object], **options: Any) -> subprocess.Popen[str]:
        """Start a command as Host does; the pid is the command's own, the tracer is a stranger to it."""
        trace = f"/run/trace-{len(self._traces)}"
        self._traces.append(self._host.path(trace))
        strace = ["strace", "-D", "-f", "-q", "-qq", "-X", "raw", "-s", "200", "-e", f"trace={CALLS}", "-o", trace]
        return self._host.popen([*strace, *argv], **options)

    def mark(self) -> list[int]:
        """Return how many system calls there were so far, by trace."""
        return [len(trace.read_text(errors="replace").splitlines()) for trace in self._traces]

    def calls(self, since: list[int] | None = None, pid: int = 0) -> list[str]:
        """Return the system calls since the mark, of all processes or of one, those of each trace together."""
        found = []
        for number, trace in enumerate(self._traces):
            lines = trace.read_text(errors="replace").splitlines()
            found += lines[since[number] if since and number < len(since) else 0 :]
        return [line for line in found if not pid or line.split(None, 1)[0] == str(pid)]


def writes(calls: list[str]) -> list[str]:
    """Return the system calls that change the kernel: netlink messages that aren't known as reads, and sysctls."""
    return [call for call in calls if is_write(call)]


def is_write(call: str) -> bool:
    """Tell whether a system call changes the kernel, or tries to."""
    kinds = [(int(subsystem or "0", 0) << 8) + int(kind, 0) for subsystem, kind in TYPES.findall(call)]
    if any(kind not in READS for kind in kinds):
        return True
    opened = SYSCTL_WRITE.search(call)
    return opened is not None and bool(int(opened[1], 0) & ACCESS_MODE)
