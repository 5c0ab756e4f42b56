"""One nsvisord with some instances in a throwaway network, and what the tests of invariants ask of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pubsub
from pubsub.topics import AppNetworkStatus, NetworkInstanceStatus, State, TableStatus
from tests.hosts import DEADLINE, Daemon, Host, Topology, wait_until
from tests.hosts.host import TRAFFIC
from tests.hosts.topology import OUTSIDE

FLOWS = Path(__file__).with_name("flows.py")
RATE = 1000  # datagrams a second
UDP_PORT, TCP_PORT = 9007, 9009  # outside, and in apps
OUTER_PORT = 9107  # of the port map on the uplink
REPAIR = 30.0  # seconds; half of a full pass, which would find it though no event told of it
TWO_TENANTS: dict[str, Any] = {
    "red": {
        "subnet": "10.1.0.0/24",
        "apps": {"web": {"address": "10.1.0.80", "ports": [f"{OUTER_PORT}:{UDP_PORT}/udp"]}},
    },
    "blue": {"subnet": "10.1.0.0/24"},
}


class Rig:
    """A network, its daemon and its instances. A context manager; the daemon runs and all instances are ready in it.

    `instances` are as in the config file; `expected` those that become ready (default: all).
    """

    def __init__(
        self,
        instances: Mapping[str, Any] = TWO_TENANTS,
        *,
        uplinks: int = 1,
        ipv6: bool = False,
        expected: tuple[str, ...] | None = None,
        start: bool = True,
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._expected = tuple(instances) if expected is None else expected
        self._start = start
        self.topology = Topology(uplinks, ipv6=ipv6)
        self.host: Host = self.topology.host
        self.daemon = Daemon(self.host)
        self.run_dir = self.host.path(self.daemon.run_dir)
        self.instances: dict[str, Any] = json.loads(json.dumps(instances))  # a test changes it and calls `configure`
        self.configure()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.topology)
        try:
            if self._start:
                self._stack.enter_context(self.daemon)
                self.wait_ready(*self._expected)
        except BaseException:
            sys.stderr.write(self.daemon.log() if self.daemon.process else "")
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process = self.daemon.process
        ended = process.poll() if process else None
        log = self.daemon.log() if process else ""
        self._stack.close()
        assert ended in {None, 0, -signal.SIGKILL}, f"nsvisord ended with {ended}:\n{log}"

    def configure(self) -> None:
        """Write the config file anew; nsvisord sees it by itself."""
        self.daemon.configure({"instances": self.instances})

    # --- what is said on the bus ------------------------------------------------------------------------------------

    def status(self, name: str) -> NetworkInstanceStatus:
        """Return what nsvisord says of an instance. Raises AssertionError when it says nothing."""
        found: NetworkInstanceStatus | None = self._table(NetworkInstanceStatus, "supervisor").get(name)
        assert found, f"no status of {name}"
        return found

    def ready(self, name: str) -> NetworkInstanceStatus:
        """Return the status of an instance that is ready and has a living manager. Raises AssertionError."""
        status = self.status(name)
        assert status.state == State.READY, f"{name} is {status.state}: {status.reason}"
        assert alive(status.pid), f"{name}'s manager, pid {status.pid}, lives no more"
        return status

    def wait_ready(self, *names: str, timeout: float = DEADLINE) -> None:
        """Return when these instances are ready."""
        for name in names:
            with self.daemon.quoted(name):
                wait_until(lambda: self.ready(name), timeout, f"{name} ready")  # noqa: B023

    def publisher(self, table: str) -> int:
        """Return the pid of the process that holds a table, as the hub knows it; 0: none."""
        found = self._table(TableStatus, "hub").get(table)
        return found.pid if found else 0

    def _table(self, topic: type[Any], agent: str) -> dict[str, Any]:
        async def read() -> dict[str, Any]:
            async with asyncio.timeout(DEADLINE / 2), pubsub.connect(self.run_dir, agent="reader") as bus:
                return await bus.table(topic, agent=agent)

        try:
            return asyncio.run(read())
        except TimeoutError as exc:
            raise AssertionError("no hub answers") from exc

    # --- processes ----------------------------------------------------------------------------------------------------

    def manager(self, name: str) -> int:
        """Return the pid of an instance's manager."""
        return self.status(name).pid

    def hub(self) -> int:
        """Return the hub's pid. A hub that was born on a full disk has not written it."""
        with contextlib.suppress(AssertionError):
            return self._pid("bus/hub.lock")
        found = [pid for pid in self.host.pids() if b"\0pubsub\0" in command_line(pid) and alive(pid)]
        assert found, "no hub"
        return found[0]

    def spawner(self) -> int:
        """Return the spawner's pid. Raises AssertionError when there is none."""
        found = [pid for pid in self.host.pids() if b"supervisor.spawner" in command_line(pid).split(b"\0")]
        # A guardian is a fork of it, and nsvisord's child too.
        spawners = [pid for pid in found if parent(pid) == self.daemon.pid and name_of(pid) != "nsguard"]
        assert spawners, "no spawner"
        return spawners[0]

    def dnsmasq(self, name: str) -> int:
        """Return the pid of an instance's dnsmasq."""
        return self._pid(f"instances/{name}/dnsmasq.pid")

    def _pid(self, file: str) -> int:
        text = ""
        with contextlib.suppress(FileNotFoundError):  # dnsmasq removes its own before it writes another
            text = self.host.read_file(self.daemon.run_dir / file).strip()
        assert text.isdecimal(), f"{file}: {text!r}"  # while it is being written
        return int(text)

    def inode(self, name: str) -> int:
        """Return the inode of a pinned namespace, as the host sees it."""
        return int(self.host.sh(f"stat -Lc %i /run/netns/{name}"))

    # --- apps and traffic ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def app(self, instance: str, name: str) -> Iterator[int]:
        """Keep an app that does nothing in an instance; yields its pid, in whose namespace others may run."""
        argv = [
            self.daemon.command,
            "run",
            instance,
            "--name",
            name,
            "--",
            "sh",
            "-c",
            "echo ready; exec sleep infinity",
        ]
        process = self.host.popen(
            argv,
            env=self.daemon.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout
        first = process.stdout.readline()
        assert first == "ready\n", first + process.stdout.read()
        found = wait_until(
            lambda: self._table(AppNetworkStatus, "supervisor").get(f"{instance}/{name}"), what="the app's status"
        )
        try:
            yield found.pid
        finally:
            process.terminate()
            process.wait(DEADLINE)
            assert process.stdout
            process.stdout.close()

    def flow(self, *argv: object, host: Host | None = None, app: int = 0) -> subprocess.Popen[str]:
        """Start one of flows.py or traffic.py in a host, or in the namespace of an app; it works when this returns."""
        enter = ["nsenter", f"--net=/proc/{app}/ns/net"] if app else []
        script = TRAFFIC if argv[0] in {"echo", "stream"} else FLOWS
        return (host or self.host).start([*enter, sys.executable, "-SE", script, *argv])

    def serve_flows(self, *apps: int) -> None:
        """Start the far ends of streams and transfers: outside, and in apps."""
        self.flow("echo", UDP_PORT, host=self.topology.outside)
        self.flow("sink", TCP_PORT, host=self.topology.outside)
        for app in apps:
            self.flow("echo", UDP_PORT, app=app)

    def outwards(self, app: int) -> subprocess.Popen[str]:
        """Start a numbered stream from an app to the world outside and back."""
        return self.flow("stream", OUTSIDE, UDP_PORT, RATE, app=app)

    def reaches_outside(self, netns: str) -> bool:
        """Tell whether a namespace of the host gets the page outside."""
        argv = ["curl", "-sf", "--max-time", "10", f"http://{OUTSIDE}/"]
        return self.host.run(argv, netns=netns, check=False).returncode == 0


def finish(*flows: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Stop streams and transfers, all at once, and return what each counted."""
    for flow in flows:
        flow.send_signal(signal.SIGINT)
    counted = []
    for flow in flows:
        output, _ = flow.communicate(timeout=DEADLINE)
        assert output, "the flow broke off"
        counted.append(json.loads(output.splitlines()[-1]))
    return counted


def kill(pid: int) -> None:
    """Kill a process as nothing can forbid, and see it gone."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), what=f"the end of {pid}")


def alive(pid: int) -> bool:
    """Tell whether a process lives; a zombie doesn't."""
    with contextlib.suppress(OSError):
        return pid > 0 and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def name_of(pid: int) -> str:
    """Return the name of a process; empty when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def parent(pid: int) -> int:
    """Return the pid of a process's parent; 0 when it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def command_line(pid: int) -> bytes:
    """Return the arguments of a process, each followed by a zero byte; empty when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
