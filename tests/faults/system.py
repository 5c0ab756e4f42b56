"""The system under faults: instances with traffic through them, one that comes and goes, and what must hold after."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from tests.hosts import Daemon, wait_until
from tests.hosts.topology import OUTSIDE
from tests.invariants.rig import TCP_PORT, UDP_PORT, Rig, alive, finish

RATE = 400  # datagrams a second in each steady instance
STEADY: dict[str, Any] = {
    "red": {"subnet": "10.1.0.0/24", "apps": {"web": {"address": "10.1.0.80"}}},
    "blue": {"subnet": "10.1.0.0/24", "apps": {"web": {"address": "10.1.0.80"}}},
}
CHURN = "churn"  # the instance that comes and goes
FOLDER = "/run/small"  # a file system of its own, that can be full
SIZE = "64m"
NAMESPACES = ("net", "user")  # services stay in the mount namespace of the manager that started them

# What the kernel has of ours, on the host and inside; numbers that differ between two equal states are left out.
HOST_STATE = """
ip -o link | sed 's/^[0-9]*: //; s/@.*: </: </; s/link-netnsid [0-9]*//; s/state [A-Z]*//' |
  sed 's/NO-CARRIER,//; s/,LOWER_UP//'
ip -o addr | awk '{print $2, $3, $4}'; ip rule; ip -6 rule
ip route show table all; ip -6 route show table all proto 196
nft -s list ruleset; ls /run/netns; mount | grep -c netns/
"""
INSIDE_STATE = """
ip -o link | sed 's/^[0-9]*: //; s/@.*: </: </; s/link-netnsid [0-9]*//'
ip -o addr | awk '{print $2, $3, $4}'; ip route; ip -6 route show proto 196; nft -s list ruleset
"""


class System:
    """A context manager; the traffic runs in it from `begin` to `end`."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.rig = Rig(STEADY, start=False)
        self.churns = False  # the instance that comes and goes is wanted now
        self.signals = 0  # sent so far
        self.packets = 0  # sent so far, of the streams
        self.deaths = 0  # of nsvisord, by itself

    def __enter__(self) -> Self:
        self._stack.enter_context(self.rig)
        host = self.rig.host
        host.sh(f"mkdir -p {FOLDER} && mount -t tmpfs -o mode=755,size={SIZE} tmpfs {FOLDER}")
        self.rig.daemon = Daemon(host, folder=FOLDER)
        self.rig.run_dir = host.path(self.rig.daemon.run_dir)
        self.rig.configure()
        self._stack.enter_context(self.rig.daemon)
        self.rig.wait_ready(*STEADY)
        self.apps = [self._stack.enter_context(self.rig.app(name, "web")) for name in STEADY]
        self.rig.serve_flows()
        for number in range(1, len(STEADY)):  # one takes one transfer
            self.rig.flow("sink", TCP_PORT + number, host=self.rig.topology.outside)
        self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # --- what faults ask for ------------------------------------------------------------------------------------------

    def churn(self, *, present: bool) -> None:
        """Want the instance that comes and goes, or not; where the disk is full nobody hears of it."""
        self.churns = present
        self.rig.instances = {**STEADY, **({CHURN: {"subnet": "10.9.0.0/24"}} if present else {})}
        with contextlib.suppress(OSError):
            self.rig.configure()

    def some(self, find: Callable[[], int]) -> list[int]:
        """Return a pid, or none: what is looked for may just have died."""
        with contextlib.suppress(AssertionError, OSError, ValueError):
            return [find()]
        return []

    def managers(self, *names: str) -> list[int]:
        """Return the pids of managers, as the records tell; of all steady instances by default."""
        return [pid for name in names or STEADY for pid in self.some(lambda: self._recorded(name))]  # noqa: B023

    def _recorded(self, name: str) -> int:
        record = json.loads(self.rig.host.read_file(self.rig.daemon.run_dir / f"state/{name}.json"))
        pid = int(record["manager"]["pid"]) if record.get("manager") else 0
        assert alive(pid)
        return pid

    def services(self, name: str) -> list[int]:
        """Return the pids of an instance's services."""
        return [
            int(path.read_text())
            for path in self.rig.host.path(self.rig.daemon.run_dir / f"instances/{name}").glob("*.pid")
            if path.read_text().strip().isdecimal()
        ]

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
            self.rig.configure()

    # --- what must hold -----------------------------------------------------------------------------------------------

    def begin(self) -> list[subprocess.Popen[str]]:
        """Start the traffic: a numbered stream and a long transfer in each steady instance."""
        streams = [self.rig.flow("stream", OUTSIDE, UDP_PORT, RATE, app=app) for app in self.apps]
        return streams + [
            self.rig.flow("source", OUTSIDE, TCP_PORT + number, app=app) for number, app in enumerate(self.apps)
        ]

    def end(self, flows: list[subprocess.Popen[str]]) -> None:
        """End the traffic. Raises AssertionError when one packet, or one byte, was lost."""
        half = len(flows) // 2
        counted = finish(*flows)
        for stream in counted[:half]:
            assert stream["lost"] == 0 < stream["sent"], stream
            self.packets += stream["sent"]
        for transfer in counted[half:]:
            assert transfer["arrived"] == transfer["sent"] > 0, transfer

    def is_alone(self) -> bool:
        """Tell whether our nsvisord holds the lock of its run-dir; one that ended is started again."""
        self.revive()
        return self.rig.host.read_file(self.rig.daemon.run_dir / "supervisor.lock").strip() == str(self.rig.daemon.pid)

    def revive(self) -> None:
        """Start nsvisord again when it ended, as systemd would: one that can open no file while it starts ends."""
        process = self.rig.daemon.process
        if process is not None and process.poll() is not None:
            self.deaths += 1
            print(f"nsvisord ended with {process.returncode}:\n{self.rig.daemon.log()[-4000:]}")
            self.rig.daemon.start(ready=False)

    def settle(self) -> None:
        """Wait until all is as the configuration says: the churned instance too."""
        self.rig.configure()
        names = sorted([*STEADY, *([CHURN] if self.churns else [])])

        def known() -> bool:
            self.revive()
            return sorted(one["name"] for one in self.rig.daemon.get()) == names

        wait_until(known, what="the instances")
        self.rig.wait_ready(*names)
        self.churn(present=True)
        self.rig.wait_ready(*STEADY, CHURN)
        self.churn(present=False)
        wait_until(lambda: sorted(one["name"] for one in self.rig.daemon.get()) == sorted(STEADY), what="its end")

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
        """Return the names of all processes of the host."""
        names = []
        for pid in self.rig.host.pids():
            with contextlib.suppress(OSError):
                names.append(Path(f"/proc/{pid}/comm").read_text().strip())
        return sorted(names)

    def _namespaces(self) -> list[str]:
        """Return how many namespaces of each kind processes of the host are in."""
        inodes: dict[str, set[int]] = {kind: set() for kind in NAMESPACES}
        for pid in self.rig.host.pids():
            for kind in NAMESPACES:
                with contextlib.suppress(OSError):
                    inodes[kind].add(Path(f"/proc/{pid}/ns/{kind}").stat().st_ino)
        return [f"{kind} {len(found)}" for kind, found in inodes.items()]

    def descriptors(self) -> dict[str, int]:
        """Return how many descriptors the long-lived processes hold."""
        pids = {"hub": self.rig.hub(), "nsvisord": self.rig.daemon.pid, "spawner": self.rig.spawner()}
        return {name: len(list(Path(f"/proc/{pid}/fd").iterdir())) for name, pid in pids.items()}
