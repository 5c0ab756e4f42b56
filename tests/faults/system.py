"""The system under faults: instances with traffic through them, one that comes and goes, and what must hold after."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from tests.hosts import RULESET, Daemon, Host, connect, wait_until
from tests.hosts.host import TRAFFIC
from tests.hosts.topology import OUTSIDE
from tests.invariants.rig import TCP_PORT, UDP_PORT, Rig, alive, command_line, finish, name_of

RATE = 400  # datagrams a second of each stream
CONNECTION_PORT = 9020
CONNECTIONS = Path(__file__).with_name("connections.py")
GROWTH = 16 * 1024  # KiB of a process's own memory beyond what it had after the first schedule
ROUTED: dict[str, Any] = {
    "red": {"subnet": "10.1.0.0/24", "apps": {"web": {"address": "10.1.0.80"}}},
    "blue": {"subnet": "10.1.0.0/24", "apps": {"web": {"address": "10.1.0.80"}}},
}
# A switch between two links of the host that are lent to it; a host is behind each.
SWITCH: dict[str, Any] = {"type": "switch", "uplinks": ["lan0"], "apps": {"plc": {"attach": {"link": "lan1"}}}}
STEADY = {**ROUTED, "wire": SWITCH}
FAR = "192.0.2.2"  # of the host behind the second
CHURN = "churn"  # the instance that comes and goes
FOLDER = "/run/small"  # a file system of its own, that can be full
SIZE = "64m"
NAMESPACES = ("net", "user")  # services stay in the mount namespace of the manager that started them

# What the kernel has of ours, on the host and inside; numbers that differ between two equal states are left out.
HOST_STATE = (
    """
ip -o link | sed 's/^[0-9]*: //; s/@.*: </: </; s/link-netnsid [0-9]*//; s/state [A-Z]*//' |
  sed 's/NO-CARRIER,//; s/,LOWER_UP//'
ip -o addr | awk '{print $2, $3, $4}'; ip rule; ip -6 rule
ip route show table all; ip -6 route show table all proto 196
ls /run/netns; mount
"""
    + RULESET
)
INSIDE_STATE = (
    """
ip -o link | sed 's/^[0-9]*: //; s/@.*: </: </; s/link-netnsid [0-9]*//'
ip -o addr | awk '{print $2, $3, $4}'; ip route; ip -6 route show proto 196
"""
    + RULESET
)


class System:
    """A context manager; the traffic runs in it from `begin` to `end`."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.rig = Rig(STEADY, start=False)
        self.churns = False  # the instance that comes and goes is wanted now
        self.played = 0  # schedules that passed
        self.signals = 0  # sent so far
        self.packets = 0  # sent so far, of the streams
        self.connections = 0  # made so far
        self.memory: dict[str, tuple[int, int]] = {}  # of each kind of process, KiB: after the first schedule, at most
        self.routed = tuple(ROUTED)
        self.deaths = 0  # of nsvisord, by itself

    def __enter__(self) -> Self:
        self._stack.enter_context(self.rig)
        host = self.rig.host
        host.sh(f"mkdir -p {FOLDER} && mount -t tmpfs -o mode=755,size={SIZE} tmpfs {FOLDER}")
        self.rig.daemon = Daemon(host, folder=FOLDER)
        self.rig.daemon.config_dir = Path("/etc/nsvisor")  # can be changed when the disk is full
        self.ends = [self.rig.topology.add_host(name) for name in ("near", "far")]
        for number, end in enumerate(self.ends):
            connect(host, f"lan{number}", end, "eth0")
            end.sh(f"ip addr add 192.0.2.{number + 1}/24 dev eth0")
        self.rig.run_dir = host.path(self.rig.daemon.run_dir)
        self.rig.configure()
        self._stack.enter_context(self.rig.daemon)
        self.rig.wait_ready(*STEADY)
        self.apps = [self._stack.enter_context(self.rig.app(name, "web")) for name in ROUTED]
        self.rig.serve_flows()
        self.rig.flow("echo", UDP_PORT, host=self.ends[1])
        script(self.rig.topology.outside, CONNECTIONS, "serve", CONNECTION_PORT)
        for number in range(1, len(ROUTED)):  # one takes one transfer
            self.rig.flow("sink", TCP_PORT + number, host=self.rig.topology.outside)
        self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # --- what faults ask for ------------------------------------------------------------------------------------------

    def churn(self, *, present: bool) -> None:
        """Want the instance that comes and goes, or not."""
        self.churns = present
        self.rig.instances = {**STEADY, **({CHURN: {"subnet": "10.9.0.0/24"}} if present else {})}
        self.rig.configure()

    def signal_all(self, number: int, *pids: int) -> None:
        """Send a signal to those that live."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, AssertionError):
                os.kill(pid, number)
                self.signals += 1

    def ours(self, name: str) -> list[int]:
        """Return the pids of nsvisord, hub and spawner, and of an instance's manager."""
        parents = (lambda: self.rig.daemon.pid, self.rig.hub, self.rig.spawner)
        return [*(pid for find in parents for pid in self.some(find)), *self.managers(name)]

    def some(self, find: Callable[[], int]) -> list[int]:
        """Return a pid, or none: what is looked for may just have died."""
        with contextlib.suppress(AssertionError, OSError, ValueError):
            return [find()]
        return []

    def managers(self, *names: str) -> list[int]:
        """Return the pids of managers, as the records tell; of all steady instances by default."""
        return [pid for name in names or STEADY for pid in self.some(lambda: self._recorded(name))]  # noqa: B023

    def _record(self, name: str) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.rig.host.read_file(self.rig.daemon.run_dir / f"state/{name}.json"))
        return record

    def guardians(self, name: str) -> list[int]:
        """Return the pids of those who stand over an instance's apps, but for the one that has the traffic."""
        with contextlib.suppress(OSError, ValueError):
            apps = self._record(name).get("apps", {})
            return [one["process"]["pid"] for app, one in apps.items() if app != "web" and one.get("process")]
        return []

    def _recorded(self, name: str) -> int:
        record = self._record(name)
        pid = int(record["manager"]["pid"]) if record.get("manager") else 0
        assert alive(pid)
        return pid

    def services(self, name: str) -> list[int]:
        """Return the pids of an instance's services."""
        files = self.rig.host.path(self.rig.daemon.run_dir / f"instances/{name}").glob("*.pid")
        named = {path.stem: path.read_text().strip() for path in files}
        # What a file says may be long gone, and its pid another's.
        living = {pid: name_of(pid) for pid in self.rig.host.pids()}
        return [int(pid) for service, pid in named.items() if pid.isdecimal() and living.get(int(pid)) == service]

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """Let not one byte more be written to run and state folder."""
        filler = self.rig.host.path(f"{FOLDER}/filler")
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1))
        try:
            yield
        finally:
            filler.unlink()

    # --- what must hold -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def traffic(self) -> Iterator[None]:
        """Have a numbered stream, a long transfer and new connections in each, and a stream by the switch.

        Raises AssertionError at the end when one packet, or one byte, was lost.
        """
        began = datetime.now().astimezone()
        flows = [self.rig.flow("stream", OUTSIDE, UDP_PORT, RATE, app=app) for app in self.apps]
        flows += [script(self.ends[0], TRAFFIC, "stream", FAR, UDP_PORT, RATE)]
        flows += [self.rig.flow("source", OUTSIDE, TCP_PORT + number, app=app) for number, app in enumerate(self.apps)]
        flows += [script(self.rig.host, CONNECTIONS, "connect", OUTSIDE, CONNECTION_PORT, app=app) for app in self.apps]
        yield
        for number, counted in enumerate(finish(*flows)):
            told = f"flow {number} of {began:%T.%f}: {counted}"  # with which the logs can be read
            if "made" in counted:
                assert counted["failed"] == 0 < counted["made"], told
                self.connections += counted["made"]
            elif "arrived" in counted:
                assert counted["arrived"] == counted["sent"] > 0, told
            else:
                assert counted["lost"] == 0 < counted["sent"], told
                self.packets += counted["sent"]

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait as tests do; an nsvisord that ends meanwhile is started again."""

        def come_true() -> object:
            self.revive()
            return condition()

        wait_until(come_true, what=what)

    def wait_ready(self, *names: str) -> None:
        """Wait until these instances are ready; an nsvisord that ends meanwhile is started again."""
        for name in names:
            self.wait_until(lambda: self.rig.ready(name), what=f"{name} ready")  # noqa: B023

    def revive(self) -> None:
        """Start nsvisord again when it ended, as systemd would.

        One that can open no file while it starts ends; without memory libc itself may end it.
        """
        process = self.rig.daemon.process
        if process is not None and process.poll() is not None:
            self.deaths += 1
            print(f"nsvisord ended with {process.returncode}:\n{self.rig.daemon.log()[-4000:]}")
            self.rig.daemon.start(ready=False)

    def settle(self) -> None:
        """Wait until all is as the configuration says: the churned instance too."""
        self.rig.configure()
        names = [*STEADY, *([CHURN] if self.churns else [])]
        self.wait_until(lambda: self._are(names), what="the instances")
        self.wait_ready(*names)
        self.churn(present=True)
        self.wait_ready(*STEADY, CHURN)
        self.churn(present=False)
        self.wait_until(lambda: self._are([*STEADY]), what="its end")

    def _are(self, names: list[str]) -> bool:
        return sorted(one["name"] for one in self.rig.daemon.get()) == sorted(names)

    def state(self) -> dict[str, list[str]]:
        """Return all that the kernel and the file system hold of us."""
        host = self.rig.host
        kernel = {"host": host.sh(HOST_STATE, check=False)}
        kernel |= {name: host.sh(INSIDE_STATE, netns=name) for name in STEADY}
        # The hub writes a table's file anew when its writer next has something to say; of metrics, seconds later.
        known = " ".join(f"-not -name 'nsmanager+{name}+NetworkInstanceMetrics.log'" for name in STEADY)
        files = host.sh(f"cd {FOLDER}; find . -not -path './*/crashes*' {known} | sort")
        found = {name: sorted(text.splitlines()) for name, text in kernel.items()}
        return {**found, "files": files.splitlines(), "processes": self._processes(), "namespaces": self._namespaces()}

    def _processes(self) -> list[str]:
        """Return the names of all processes of the host, of Python's the command lines but for numbers."""
        found = []
        for pid in self.rig.host.pids():
            name = name_of(pid)
            words = command_line(pid).replace(b"\0", b" ").decode() if name.startswith("python") else ""
            found.append(re.sub(r"\d+", "N", words).strip() or name)
        return sorted(filter(None, found))

    def _namespaces(self) -> list[str]:
        """Return how many namespaces of each kind processes of the host are in."""
        inodes: dict[str, set[int]] = {kind: set() for kind in NAMESPACES}
        for pid in self.rig.host.pids():
            for kind in NAMESPACES:
                with contextlib.suppress(OSError):
                    inodes[kind].add(Path(f"/proc/{pid}/ns/{kind}").stat().st_ino)
        return [f"{kind} {len(found)}" for kind, found in inodes.items()]

    def by_role(self) -> dict[str, int]:
        """Return the pids of those that live long; a manager that couldn't be noted on a full disk is noted later."""
        pids = {"hub": self.rig.hub(), "nsvisord": self.rig.daemon.pid, "spawner": self.rig.spawner()}
        for name in STEADY:
            known = f"the record of {name}'s manager"
            pids[f"manager of {name}"] = wait_until(lambda: self._recorded(name), what=known)  # noqa: B023
        return pids

    def descriptors(self) -> dict[str, int]:
        """Return how many descriptors the long-lived processes hold."""
        return {name: len(list(Path(f"/proc/{pid}/fd").iterdir())) for name, pid in self.by_role().items()}

    def look_at_memory(self) -> None:
        """Take note of what memory each process has to itself. Raises AssertionError when it grows."""
        for name, pid in self.by_role().items():
            found = re.search(r"^Anonymous:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            assert found
            first, most = self.memory.get(name, (int(found[1]), 0))
            self.memory[name] = first, max(most, int(found[1]))
            assert int(found[1]) < first + GROWTH, self.memory


def script(host: Host, file: Path, *argv: object, app: int = 0) -> subprocess.Popen[str]:
    """Start a script in a host, or in the namespace of an app; it works when this returns."""
    enter = ["nsenter", f"--net=/proc/{app}/ns/net"] if app else []
    return host.start([*enter, sys.executable, "-SE", file, *argv])
