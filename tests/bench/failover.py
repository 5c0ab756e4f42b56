"""Measures failover: from a dead link to the first packet of a new connection by the other uplink.

Everything runs in a throwaway host with a gateway; times are from the gateway's own packets, nothing is taken from what
nsvisord says. Each figure is printed with how it was got.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.figures import percentile
from tests.bench.instances import python_loop, settle_kernel
from tests.hosts import Daemon, Topology, wait_until
from tests.hosts.host import ROOT
from tests.hosts.topology import OUTSIDE

COUNTS = (1, 256)
REPETITIONS = {1: 100, 256: 10}  # so that a percentile has something to be of: 100, and 2,560 first packets
SILENT = {1: 20, 256: 3}
PACE = {1: 0.0005, 256: 0.01}  # seconds between two tries of one instance; all of 256 in one take 2 ms
PROBE = {"interval": "100ms", "timeout": "100ms", "down": 3, "up": 1}
DETECTION = 400.0  # milliseconds that PROBE takes at most: until the next try, two more, and the last one's timeout
READY_TIMEOUT = 300.0  # seconds
REST, REST_TICKS = 1.0, 20  # seconds, and hundredths of CPU seconds in them that probing, and looking each second, take
LOAD = ROOT / "tests/bench/load.py"
EXPLANATION = f"""\
carrier: the cable's other end is taken down; silent: the gateway drops all, ARP too, with a probe every 100 ms, 3 down,
  so up to {DETECTION:g} ms are detection as configured
measured from that system call to the kernel's time stamp of the first packet on the other uplink's gateway; each
  instance tries a new connection every {PACE[1] * 1000:g} ms (one) or {PACE[256] * 1000:g} ms (256), from its own \
namespace, all at once
nsvisord is at rest before each; highest: the last instance of the slowest repetition
loop: ten million additions in Python right before"""


def main() -> int:
    """Measure with each count of instances. Returns 1 when a packet never came."""
    counts = tuple(int(argument) for argument in sys.argv[1:]) or COUNTS
    table = Table("instances", "failure", "repetitions", "p50", "p99", "highest", "aim", "loop")
    missing = 0
    for count in counts:
        settle_kernel()
        loop = python_loop()
        with Topology(2) as topology, Daemon(topology.host) as daemon, racer(topology, daemon, count) as run:
            for kind, times in (("carrier", REPETITIONS), ("silent", SILENT)):
                took = [one for _ in range(times.get(count, 10)) for one in run(kind)]
                missing += sum(one < 0 for one in took)
                aim = "" if kind == "silent" else "50 ms" if count == 1 else "200 ms"
                figures = [f"{value:.1f} ms" for value in (percentile(took, 50), percentile(took, 99), max(took))]
                table.add_row(str(count), kind, str(len(took) // count), *figures, aim, f"{loop:.2f} s")
    Console(width=120).print(table)
    print(EXPLANATION)
    return 1 if missing else 0


def config(count: int) -> dict[str, Any]:
    """Return instances that prefer eth0 and may use eth1."""
    return {
        "uplinks": {"eth0": {"next_hop": PROBE}, "eth1": {"cost": 10, "next_hop": PROBE}},
        "instances": {f"t{number}": {"uplinks": ["eth0", "eth1"]} for number in range(count)},
    }


@contextlib.contextmanager
def racer(topology: Topology, daemon: Daemon, count: int) -> Iterator[Any]:
    """Give a function that lets eth0 fail once, and returns each instance's milliseconds."""
    daemon.configure(config(count))
    names = [f"t{number}" for number in range(count)]
    wait_until(lambda: bound(daemon, "eth0", count), READY_TIMEOUT, f"{count} instances on eth0")
    wait_until(lambda: at_rest(daemon), READY_TIMEOUT, "nsvisord at rest")
    argv = [sys.executable, "-SE", LOAD, "race", topology.gateway.pid, "up0", "up1", OUTSIDE, PACE.get(count, 0.01)]
    process = topology.host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps([f"/run/netns/{name}" for name in names]) + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"

    def run(kind: str) -> list[float]:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{'carrier' if kind == 'carrier' else 'silence'}\n")
        process.stdin.flush()
        took: list[float] = json.loads(process.stdout.readline())
        wait_until(lambda: bound(daemon, "eth1", count), READY_TIMEOUT, "all on eth1")
        if kind == "carrier":
            topology.uplinks[0].plug()
        else:
            topology.uplinks[0].speak()
        wait_until(lambda: bound(daemon, "eth0", count), READY_TIMEOUT, "all on eth0 again")
        wait_until(lambda: at_rest(daemon), READY_TIMEOUT, "nsvisord at rest")
        return took

    try:
        yield run
    finally:
        process.kill()
        process.wait()


def at_rest(daemon: Daemon) -> bool:
    """Tell whether nsvisord does nothing but probe: a failure amid a pass over everything waits for its end."""

    def ticks() -> int:
        words = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
        return int(words[11]) + int(words[12])  # utime, stime, proc_pid_stat(5)

    before = ticks()
    time.sleep(REST)
    return ticks() - before <= REST_TICKS


def bound(daemon: Daemon, ifname: str, count: int) -> bool:
    """Tell whether all instances are ready and on an uplink."""
    found = daemon.get()
    return len(found) == count and all(one["uplink"] == ifname and one["state"] == "ready" for one in found)


if __name__ == "__main__":
    sys.exit(main())
