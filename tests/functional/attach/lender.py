"""A host with a link that is worth something, to be lent and given back."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

from tests.hosts import Daemon, Host, wait_until

MAKE = """
    ip link set eth5 down address 02:00:5e:00:53:05 mtu 1400 alias 'to the plant' group 7 txqueuelen 500
    sysctl -qw net.ipv6.conf.eth5.addr_gen_mode=1 net.ipv4.conf.eth5.proxy_arp=1 net.ipv6.conf.eth5.accept_ra=0
    ip link property add dev eth5 altname plant0
    ip link set eth5 up
    ip addr add 192.0.2.5/24 dev eth5
    ip addr add 192.0.2.6/24 dev eth5 valid_lft 3000 preferred_lft 2000
    ip addr add 203.0.113.9/32 dev eth5 noprefixroute
    ip addr add 2001:db8:5::5/64 dev eth5
    ip route add 198.51.100.0/24 via 192.0.2.1 dev eth5 proto static metric 77 mtu 1300
    ip route add default via 192.0.2.1 dev eth5 metric 500
    ip -6 route add 2001:db8:6::/48 via 2001:db8:5::1 dev eth5 metric 77
    ip -6 route add 2001:db8:7::/48 dev eth5
"""
SEEN = """
    ip -o link show eth5 | sed 's/^[0-9]*: //; s/@if[0-9]*//; s/link-netns [^ ]* //'
    ip -o addr show eth5 | sed 's/^[0-9]*: //; s/valid_lft [0-9]*sec//; s/preferred_lft [0-9]*sec//'
    ip route show dev eth5
    ip -6 route show dev eth5
    sysctl -e net.ipv6.conf.eth5 net.ipv4.conf.eth5 2>&- || :
    [ ! -e /run/tie ] || ip link show master tie | sed 's/^[0-9]*: //'
"""


class Lender:
    """A host with eth5, which leads to a device, and a daemon."""

    def __init__(self, host: Host, device: Host) -> None:
        self.host, self.device = host, device
        self.daemon = Daemon(host)

    def configure(self, apps: dict[str, Any] | None = None, **other: Any) -> None:
        red = {"subnet": "10.1.0.0/24", "uplinks": [], "apps": apps or {}}
        self.daemon.configure({"instances": {"red": red, **other}})

    def seen(self) -> str:
        return self.host.sh(SEEN) if self.is_here() else ""

    def is_here(self) -> bool:
        return self.host.run(["test", "-e", "/sys/class/net/eth5"], check=False).returncode == 0

    def app(self) -> dict[str, Any]:
        return next((one for one in self.daemon.get("apps") if one["app"] == "plc"), {})

    def lend(self) -> None:
        self.configure({"plc": {"attach": {"link": "eth5"}}})
        wait_until(lambda: self.app().get("attached"), what="eth5 is on the bridge")
        assert not self.is_here()

    def wait_back(self, before: str) -> None:
        try:
            wait_until(lambda: self.seen() == before, what="eth5 is as it was")
        except AssertionError as exc:
            raise AssertionError(f"--- before\n{before}\n--- now\n{self.seen()}\n{self.daemon.log()}") from exc

    def kill_all(self) -> None:
        """Kill everything of ours, as nothing could forbid."""
        self.daemon.kill()
        killed = [pid for pid in self.host.pids() if is_python(pid)]
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not {*killed} & {*self.host.pids()}, what="all are dead")


def is_python(pid: int) -> bool:
    """Tell whether a process is one of ours; it may be gone by now."""
    try:
        return "python" in Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return False
