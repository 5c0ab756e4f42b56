"""Looks whether the host's other rules would drop what instances send, whether nsvisord runs or not."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from supervisor.names import HOST_END_PREFIX, uplink_mark
from supervisor.obstructions import look
from supervisor.passage.obstacles import Passage, is_foreign

# An instance's end of its link, whichever instance it is.
INNER = {4: "100.127.0.1", 6: "fd6e:7376:6973::1"}
NO_LINK = f"{HOST_END_PREFIX}any"  # stands for the link of an instance that may come
LOOPBACK = "lo"
TABLES_TIMEOUT = 10.0  # seconds


def obstacles_here() -> tuple[str, ...]:
    """Return in words what drops the packets of instances on the host's default ways out."""
    links = sorted(name for _, name in socket.if_nameindex() if name.startswith(HOST_END_PREFIX)) or [NO_LINK]
    passages = {
        link: tuple(
            Passage(link, ip_address(INNER[version]), uplink, uplink_mark(socket.if_nametoindex(uplink)))
            for version in (4, 6)
            for uplink in default_uplinks(version)
        )
        for link in links
    }
    try:
        done = subprocess.run(
            ["nft", "list", "tables"], capture_output=True, text=True, timeout=TABLES_TIMEOUT, check=False
        )
        tables = [(family, name) for _, family, name in map(str.split, done.stdout.splitlines())]
        found = look([table for table in tables if is_foreign(*table)], passages)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(dict.fromkeys(words for some in found.values() for words in some))


def default_uplinks(version: int) -> list[str]:
    """Return the links by which the host's default routes lead."""
    return sorted({*_default_routes(version)})


def _default_routes(version: int) -> Iterator[str]:
    """Yield the link of each default route in the kernel's list, see proc(5)."""
    path = Path("/proc/net/route" if version == 4 else "/proc/net/ipv6_route")
    for line in path.read_text().splitlines() if path.exists() else []:
        words = line.split()
        if version == 4 and words[1] == words[7] == "00000000":
            yield words[0]
        elif version == 6 and set(words[0]) == {"0"} and words[1] == "00" and words[9] != LOOPBACK:
            yield words[9]
