"""A pass over attached things that are as they should be writes nothing to the kernel, and asks nobody inside."""

from __future__ import annotations

import re
from functools import partial

from tests.hosts import Daemon, Host, connect, wait_until

WRITES = re.compile(r"nlmsg_type=(RTM_(NEW|DEL|SET)\w+)|^(mount|setns|unshare|rename)\(")


def test_an_unchanged_pass_writes_nothing() -> None:
    with Host() as host, Host("device") as device, Daemon(host) as daemon:
        connect(host, "eth5", device, "eth0")
        connect(host, "eth6", device, "eth1")
        host.sh("ip netns add box; ip tuntap add vm0 mode tap")
        wanted = {"plc": {"link": "eth5"}, "box": {"netns": "box"}, "vm": {"tap": "vm0"}}
        apps = {name: {"attach": attach} for name, attach in wanted.items()}
        red = {"subnet": "10.1.0.0/24", "uplinks": [], "apps": apps}
        daemon.configure({"instances": {"red": red, "sw": {"type": "switch", "uplinks": ["eth6"]}}})
        wait_until(lambda: [one["attached"] for one in daemon.get("apps")] == [True] * 3, what="all are attached")
        daemon.wait_ready("red", "sw")
        with host.path("/run/strace.said").open("w") as said:
            calls = "trace=sendto,rename,mount,setns,unshare"
            tracer = host.popen(["strace", "-f", "-p", daemon.pid, "-o", "/run/trace", "-e", calls], stderr=said)
        wait_until(lambda: "attached" in host.read_file("/run/strace.said"), what="strace has hold of nsvisord")
        for _ in range(3):
            before = len(dumps(host))
            host.sh("ip link add noise type bridge; ip link del noise")  # wakes a pass
            wait_until(partial(passed, host, before), what="a pass over the host's links")
        tracer.terminate()
        tracer.wait(60)
        written = [line for line in host.read_file("/run/trace").splitlines() if WRITES.search(line.partition(" ")[2])]
        assert not written, written


def passed(host: Host, before: int) -> bool:
    return len(dumps(host)) > before


def dumps(host: Host) -> list[str]:
    return [line for line in host.read_file("/run/trace").splitlines() if "RTM_GETLINK" in line]
