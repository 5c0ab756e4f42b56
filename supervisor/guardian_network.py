"""How an app's guardian configures the app's own network namespace: waits for `eth0`, then address and routes."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from supervisor import command_mounts, rights
from supervisor.orders import RunApp

IFNAME: Final = "eth0"
LINK_TIMEOUT: Final = 10.0  # seconds until the link is there, and again until the bridge's side of it is up
RTMGRP_LINK: Final = 1  # rtnetlink(7)
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PING_GROUPS: Final = "0 2147483647"  # everybody may ping, as in docker
# Its MAC address is chosen by the instance, so that nobody else has its addresses; and the router is asked at once.
IPV6: Final = {"accept_dad": "0", "router_solicitation_delay": "0"}
DHCP_TRIES: Final = 8
DHCP_PAUSE: Final = 1  # seconds between tries


class NetworkError(RuntimeError):
    """The app has no network; the text says why."""


class Interrupted(Exception):  # noqa: N818  # no error
    """The session had something to say before the network was there."""


def configure(order: RunApp, session: socket.socket) -> None:
    """Bring up the network of an app. Raises NetworkError, or Interrupted when the session ends or signals."""
    Path("/proc/sys/net/ipv4/ping_group_range").write_text(PING_GROUPS)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as events:
        events.bind((0, RTMGRP_LINK))
        _wait(events, session, "operstate", "no link from the instance")
        for name, value in IPV6.items():
            with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
                Path("/proc/sys/net/ipv6/conf", IFNAME, name).write_text(value)
        _ip("link set lo up", f"link set {IFNAME} address {order.mac} mtu {order.mtu} up")
        _wait(events, session, "carrier", "nobody took up the other end of its link; is the instance ready?")
    if order.address is None:
        _ask_dhcp(order.hostname)
        return
    _ip(f"address add {order.address} dev {IFNAME}")
    if order.gateway:
        _ip(f"route add default via {order.gateway} dev {IFNAME}")


def _wait(events: socket.socket, session: socket.socket, fact: str, failure: str) -> None:
    """Wait until the link has that fact in sysfs: `operstate` once it exists, `carrier` 1 when the other end is up."""
    deadline = time.monotonic() + LINK_TIMEOUT
    while True:
        try:
            if Path("/sys/class/net", IFNAME, fact).read_text().strip() != "0":
                return
        except OSError:  # ENOENT: no link; EINVAL: carrier of a link that is down
            pass
        readable, _, _ = select.select([events, session], [], [], max(0.0, deadline - time.monotonic()))
        if session in readable:
            raise Interrupted
        if not readable:
            raise NetworkError(f"{IFNAME}: {failure} ({LINK_TIMEOUT:g} s)")
        try:
            events.recv(65536)
        except OSError:  # ENOBUFS: news was lost, so look again
            continue


def _ip(*commands: str) -> None:
    """Run commands of ip(8)."""
    text = "".join(command + "\n" for command in commands)
    result = _run(["ip", "-batch", "-"], text)
    if result.returncode:
        raise NetworkError(f"ip {'; ip '.join(commands)}: {_last_line(result.stderr)}")


def _ask_dhcp(hostname: str) -> None:
    """Get a lease. The client goes on in the background, to renew it; it dies with the process namespace."""
    client = shutil.which("udhcpc", path=PATH)
    busybox = shutil.which("busybox", path=PATH)
    if not client and not busybox:
        raise NetworkError("no DHCP client: install the package busybox or udhcpc")
    command = [client] if client else [str(busybox), "udhcpc"]
    limits = ["-n", "-t", str(DHCP_TRIES), "-T", str(DHCP_PAUSE)]
    options = ["-i", IFNAME, "-x", f"hostname:{hostname}", "-s", command_mounts.DHCP_SCRIPT]
    result = _run([*command, *limits, *options], "", rights.DHCP_CLIENT)
    if result.returncode:
        raise NetworkError(f"no DHCP lease: {_last_line(result.stderr)}")


def _run(
    argv: list[str], text: str, capabilities: frozenset[rights.Capability] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its standard error goes to a file, which a client in the background may keep."""
    last = rights.last_capability()

    def limit() -> None:
        if capabilities is not None:
            rights.limit(capabilities, last)

    with open(os.memfd_create("stderr"), "w+") as errors:
        result = subprocess.run(
            argv, input=text, stdout=errors, stderr=errors, text=True, env={"PATH": PATH}, preexec_fn=limit, check=False
        )
        errors.seek(0)
        return subprocess.CompletedProcess(argv, result.returncode, "", errors.read())


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["failed"])[-1]
