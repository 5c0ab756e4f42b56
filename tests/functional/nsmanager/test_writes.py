"""An unchanged config means zero writes to the kernel, counted from outside: by its own monitors and by strace."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

import pubsub
from pubsub.topics import TableStatus
from tests.functional.nsmanager.rig import NAME, RUN_DIR, Rig
from tests.hosts import DEADLINE, monitors, wait_until

MESSAGE = re.compile(r"^\d+ +send(?:to|msg)\(.*nlmsg_type=(0x[0-9a-f]+)")
FILE = re.compile(r"^\d+ +(?:openat\(.*\"/(?:proc/sys|sys)/.*O_(?:WRONLY|RDWR)|execve\()")
READS = {
    *range(0x12, 0x60, 4),  # RTM_GET*: each third of four, see linux/rtnetlink.h
    *(0x0A00 + kind for kind in (1, 4, 7, 10, 13, 16, 19, 23)),  # NFT_MSG_GET*, see linux/netfilter/nf_tables.h
}


def writes(calls: list[str]) -> list[str]:
    """Return the system calls by which something was changed, or started to do so: all but what is known as a read."""
    messages = [call for call in calls if (found := MESSAGE.match(call)) and int(found[1], 16) not in READS]
    return messages + [call for call in calls if FILE.match(call)]


@contextlib.contextmanager
def monitored(rig: Rig) -> Iterator[dict[str, list[str]]]:
    """Gather what the kernel tells of changes in the namespace; complete after the context."""
    heard: dict[str, list[str]] = {}
    commands = (["ip", "-o", "monitor", "link", "address", "route", "rule", "netconf"], ["nft", "monitor"])
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(rig.host.path(f"/run/{argv[0]}.monitor").open("w+")) for argv in commands]
        children = [rig.host.popen(argv, netns=NAME, stdout=to) for argv, to in zip(commands, outputs, strict=True)]
        for child in children:
            monitors.wait_until_it_listens(child)
        yield heard
        for argv, child, output in zip(commands, children, outputs, strict=True):
            monitors.stop(child)
            output.seek(0)
            heard[argv[0]] = output.read().splitlines()


@contextlib.contextmanager
def traced(rig: Rig) -> Iterator[list[str]]:
    """Gather the system calls of all managers that are born meanwhile; complete after the context."""
    spawner = min(psutil.Process(rig.nest.pid).children(), key=psutil.Process.create_time)
    calls: list[str] = []
    file = rig.host.path("/run/strace")
    argv = ["strace", "-f", "-q", "-s", "200", "-e", "trace=sendto,sendmsg,open,openat,execve", "-o", "/run/strace"]
    tracer = rig.host.popen([*argv, "-p", spawner.pid], stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{spawner.pid}/status")
    wait_until(lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text(), what="strace")
    yield calls
    tracer.send_signal(signal.SIGINT)
    tracer.wait(DEADLINE)
    calls += file.read_text().splitlines()


def carriers_are_known(rig: Rig) -> bool:
    """Tell whether the kernel has noticed, which takes it a second, that one link has a carrier and the other none."""
    return "state UP" in rig.inside("ip link show up0") and "state DOWN" in rig.inside("ip link show br0")


def writer(rig: Rig) -> int:
    """Return the pid of the status's publisher, as the hub knows it."""

    async def read() -> int:
        async with pubsub.connect(rig.run_dir, agent="supervisor") as bus:
            table = (await bus.table(TableStatus, agent="hub")).get(f"nsmanager/{NAME}/NamespaceStatus")
            return table.pid if table is not None else 0

    return asyncio.run(read())


def test_a_restarted_manager_and_an_unchanged_config_write_nothing(running: Rig) -> None:
    heartbeat = running.host.path(f"{RUN_DIR}/instances/{NAME}/heartbeat")
    wait_until(lambda: carriers_are_known(running))
    with monitored(running) as heard, traced(running) as calls:
        running.kill()
        running.start()
        wait_until(lambda: writer(running) == running.pid, what="the new manager's status")
        running.publish()
        beats = heartbeat.read_text()
        wait_until(lambda: heartbeat.read_text() != beats)
        running.inside("ip route add 192.0.2.0/24 dev br0; nft add table inet seen")
        wait_until(lambda: "seen" in running.inside("nft list tables"))
    assert "192.0.2.0/24" in heard["ip"][0], heard["ip"]
    assert "add table inet seen" in heard["nft"][0], heard["nft"]
    assert len([line for line in heard["ip"] if "192.0.2.0/24" not in line]) == 0
    assert any("nlmsg_type=0x12" in call for call in calls)  # links were read
    assert not writes(calls)


def test_the_count_sees_a_write(running: Rig) -> None:
    """Without this the test above could pass because nothing was counted at all."""
    running.kill()
    running.inside("ip route del default; sysctl -w net.ipv4.ip_forward=0; nft delete table inet nsvisor")
    with monitored(running) as heard, traced(running) as calls:
        running.start()
        wait_until(lambda: writer(running) == running.pid)
    assert any("default via 100.127.0.0" in line for line in heard["ip"])
    assert any("add table inet nsvisor" in line for line in heard["nft"])
    found = "\n".join(writes(calls))
    assert "nlmsg_type=0x18" in found  # RTM_NEWROUTE
    assert "nlmsg_type=0xa00" in found  # NFT_MSG_NEWTABLE
    assert "/proc/sys/net/ipv4/ip_forward" in found
