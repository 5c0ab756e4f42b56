"""Measures whole instances: time to ready, memory, coming back after a kill, an unchanged apply.

Everything runs in a throwaway host with a gateway; each figure is printed with how it was got. `ready` is checked
afterwards from outside: a real DHCP client asks every instance for a lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

import pubsub
from pubsub.topics import NetworkInstanceStatus, State
from tests.hosts import Daemon, Host, Topology

COUNTS = (1, 64, 256)
READY_TIMEOUT = 600.0  # seconds; a busy machine takes a minute
KILLS = 20  # of different managers: a second death of the same one is answered with a pause
SETTLE = 0.5  # seconds
CLEAR_UP = 60.0  # seconds at most for the kernel to clear up
QUICK = 0.012  # seconds to make a namespace with a bridge by commands when nothing is being cleared up
PROBES = 4  # DHCP clients at a time
MIB = 1024 * 1024
COLUMNS = (
    *("instances", "apply to ready", "leases", "manager PSS", "all of an instance"),
    *("parents", "back", "unchanged apply", "loop"),
)
EXPLANATION = f"""\
apply to ready: `nsvisor apply` of one file, until every status on the bus says ready
leases: instances in which a real DHCP client (busybox udhcpc) then got an address
PSS: mean of smaps_rollup over all managers, over all processes of an instance; parents: supervisor, spawner, hub
back: kill -9 of a manager until its instance is ready with another one; p50 and highest of {KILLS}, once each
unchanged apply: the same file again; its writes as rtnetlink and nf_tables tell them outside
loop: ten million additions in Python right before, to tell a slow minute of the machine from a slow program"""


def main() -> int:
    """Measure with each count of instances. Returns 1 when a lease could not be had."""
    counts = tuple(int(argument) for argument in sys.argv[1:]) or COUNTS
    table = Table(*COLUMNS)
    missing = 0
    for count in counts:
        settle_kernel()
        loop = python_loop()
        with Topology() as topology, Daemon(topology.host) as daemon:
            row, leases = measure(topology.host, daemon, count)
            missing += count - leases
            table.add_row(str(count), *row, f"{loop:.2f} s")
    Console(width=160).print(table)
    print(EXPLANATION)
    return 1 if missing else 0


def measure(host: Host, daemon: Daemon, count: int) -> tuple[list[str], int]:
    """Return one row, without its count, and in how many instances a lease was had."""
    names = [f"t{number}" for number in range(count)]
    text = "instances:\n" + "".join(f"  {name}: {{subnet: 10.1.0.0/24}}\n" for name in names)
    file = host.put_file("/run/bench.yaml", text)
    run_dir = host.path(daemon.run_dir)
    ready = asyncio.run(timed_until(run_dir, names, lambda: daemon.cli("apply", "-f", file)))
    leases = ask_leases(host, names)
    manager, whole, parents = memory(host, daemon)
    back = [asyncio.run(timed_return(run_dir, name)) for name in names[:KILLS]]
    again, writes = unchanged(host, daemon, file)
    return [
        f"{ready:.2f} s",
        f"{leases} of {count}",
        f"{manager / MIB:.2f} MiB",
        f"{whole / MIB:.2f} MiB",
        f"{parents / MIB:.1f} MiB",
        f"{statistics.median(back) * 1000:.0f} / {max(back) * 1000:.0f} ms",
        f"{again:.2f} s, {writes} writes",
    ], leases


async def timed_until(run_dir: Path, names: list[str], start: Callable[[], object]) -> float:
    """Start something in a thread; return the seconds until all the instances are ready on the bus."""
    wanted, good, took = set(names), set[str](), 0.0
    async with pubsub.connect(run_dir, agent="bench") as bus, asyncio.timeout(READY_TIMEOUT):
        changes = bus.subscribe(NetworkInstanceStatus, agent="supervisor")
        began = time.monotonic()
        job = asyncio.create_task(asyncio.to_thread(start))
        async for change in changes:
            match change:
                case pubsub.Created(key=name, value=status) | pubsub.Modified(key=name, value=status):
                    (good.add if status.state is State.READY else good.discard)(name)
            if wanted <= good:
                took = time.monotonic() - began
                break
        await job
    return took


async def timed_return(run_dir: Path, name: str) -> float:
    """Kill an instance's manager; return the seconds until another one has it ready."""
    async with pubsub.connect(run_dir, agent="bench") as bus, asyncio.timeout(READY_TIMEOUT):
        old, began = 0, 0.0
        async for change in bus.subscribe(NetworkInstanceStatus, agent="supervisor"):
            match change:
                case pubsub.Created(key=key, value=status) | pubsub.Modified(key=key, value=status) if key == name:
                    if not old and status.state is State.READY:
                        old, began = status.pid, time.monotonic()
                        os.kill(old, signal.SIGKILL)
                    elif old and status.state is State.READY and status.pid not in (0, old):
                        return time.monotonic() - began
    raise TimeoutError(name)


def settle_kernel() -> None:
    """Wait until namespaces deleted before are cleared up: the kernel makes new ones ten times slower meanwhile."""
    deadline = time.monotonic() + CLEAR_UP
    took = [1.0]
    while min(took[-5:]) > QUICK and time.monotonic() < deadline:
        began = time.monotonic()
        subprocess.run(["unshare", "-n", "ip", "link", "add", "probe0", "type", "bridge"], check=True)
        took.append(time.monotonic() - began)


def python_loop() -> float:
    """Return the seconds that a fixed piece of work takes now."""
    began = time.monotonic()
    total = 0
    for number in range(10_000_000):
        total += number
    return time.monotonic() - began


def ask_leases(host: Host, names: list[str]) -> int:
    """Link a client to every instance's bridge and ask for a lease; return how many got one."""
    host.sh("ip netns add clients")
    for name in names:
        host.sh(
            f"ip link add c-{name} netns clients type veth peer name p-bench netns {name} && "
            f"ip -n {name} link set p-bench master br0 up && ip -n clients link set c-{name} up"
        )
    asked = " ".join(f"c-{name}" for name in names)
    got = host.sh(
        f"echo {asked} | tr ' ' '\\n' | xargs -P {PROBES} -I @ "
        "ip netns exec clients busybox udhcpc -f -n -q -t 20 -T 1 -i @ -s /bin/true 2>&1 | grep -c 'lease of' || true"
    )
    host.sh("ip netns del clients")
    return int(got)


def memory(host: Host, daemon: Daemon) -> tuple[float, float, float]:
    """Return the mean PSS of a manager, of all of an instance, and the sum of the parents', in bytes."""
    managers, services, parents = [], [], []
    for pid in host.pids():
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_text()
            pss = pss_of(pid)
            if title.startswith("nsmanager "):
                managers.append(pss)
            elif title.startswith("dnsmasq") and "instances" in title:
                services.append(pss)
            elif pid == daemon.pid or "supervisor.spawner" in title or "\0pubsub\0" in title:
                parents.append(pss)
    mean = statistics.mean(managers)
    return mean, mean + sum(services) / len(managers), sum(parents)


def pss_of(pid: int) -> int:
    """Return a process's proportional set size in bytes (proc_pid_smaps_rollup)."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def unchanged(host: Host, daemon: Daemon, file: Path) -> tuple[float, int]:
    """Apply the same file again; return the seconds it took and how many changes the host's kernel told of."""
    with monitored(host) as count:
        began = time.monotonic()
        daemon.cli("apply", "-f", file)
        took = time.monotonic() - began
        writes = count()
    return took, writes


@contextlib.contextmanager
def monitored(host: Host) -> Iterator[Callable[[], int]]:
    """Give a function that counts what rtnetlink and nf_tables told since; a change of our own is seen first."""
    seen = host.path(host.put_file("/run/monitored", ""))
    processes = [
        host.popen(["sh", "-c", "exec ip monitor link address route rule >> /run/monitored"]),
        host.popen(["sh", "-c", "exec nft monitor >> /run/monitored"]),
    ]
    try:
        deadline = time.monotonic() + 10
        while "blackhole 203.0.113.1" not in seen.read_text() or "table ip probe" not in seen.read_text():
            host.sh("ip route replace blackhole 203.0.113.1; ip route del blackhole 203.0.113.1")
            host.sh("nft add table ip probe; nft delete table ip probe")
            if time.monotonic() > deadline:
                raise TimeoutError("the monitors see nothing")
        base = settled(seen)
        yield lambda: len(seen.read_text().splitlines()) - base
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def settled(file: Path) -> int:
    """Return how many lines a file has once it grows no more."""
    before = -1
    while (lines := len(file.read_text().splitlines())) != before:
        before = lines
        time.sleep(SETTLE)
    return lines


if __name__ == "__main__":
    sys.exit(main())
