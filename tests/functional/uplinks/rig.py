"""One nsvisord behind several uplinks, its instances and an app in each, and what tests ask of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pubsub
from pubsub.topics import AppNetworkStatus, DeviceNetworkStatus, NetworkInstanceStatus, State
from tests.hosts import DEADLINE, Cable, Daemon, Host, Stream, Topology, wait_until
from tests.hosts.host import TRAFFIC
from tests.hosts.topology import OUTSIDE

TALK = Path(__file__).with_name("talk.py")
PYTHON = (sys.executable, "-SE")
IDLE = ("sh", "-c", "echo ready; exec sleep 100000")
SHORT = 1.0  # seconds until an answer that must not come counts as absent
RETRY = 5.0  # seconds until somebody asks anew: the way may have changed meanwhile
UNREACHED = (7, 28, 56)  # curl: no connection, no answer, broken off
WHO_PORT = 9000  # of `talk.py who`, outside and in apps


class Rig:
    """A network, its daemon, its instances and their apps. A context manager; all are ready in it.

    `apps` are `instance/app`. `config` is that of a config file, the test's to change: call `configure` then.
    """

    def __init__(self, topology: Topology, config: Mapping[str, Any], apps: Iterable[str] = ()) -> None:
        self._stack = contextlib.ExitStack()
        self.topology = topology
        self.host: Host = topology.host
        self.cables = topology.uplinks
        self.daemon = Daemon(self.host)
        self.config: dict[str, Any] = json.loads(json.dumps(config))
        self.apps = dict.fromkeys(apps, 0)  # -> pid of the app's first process
        self.configure()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.topology)
        try:
            self._stack.enter_context(self.daemon)
            wait_until(self._all_ready, what="all instances are ready")
            self._start_apps()
        except BaseException:
            sys.stderr.write(self.daemon.log())
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def configure(self) -> None:
        """Write the config file anew; nsvisord sees it by itself."""
        self.daemon.configure(self.config)

    # --- what is said on the bus ------------------------------------------------------------------------------------

    def _all_ready(self) -> bool:
        statuses: dict[str, NetworkInstanceStatus] = self._table(NetworkInstanceStatus)
        missing = {name: statuses.get(name) for name in self.config["instances"]}
        missing = {name: one for name, one in missing.items() if not one or one.state != State.READY}
        assert not missing, missing
        return True

    def status(self, instance: str) -> NetworkInstanceStatus:
        """Return what nsvisord says of an instance. Raises AssertionError when it says nothing."""
        found: NetworkInstanceStatus | None = self._table(NetworkInstanceStatus).get(instance)
        assert found, f"no status of {instance}"
        return found

    def device(self, ifname: str) -> DeviceNetworkStatus:
        """Return what nsvisord says of an uplink. Raises AssertionError when it says nothing."""
        found: DeviceNetworkStatus | None = self._table(DeviceNetworkStatus).get(ifname)
        assert found, f"no status of {ifname}"
        return found

    def wait_bound(self, instance: str, ifname: str) -> NetworkInstanceStatus:
        """Return the status of an instance once it is ready and on that uplink."""

        def bound() -> NetworkInstanceStatus | None:
            status = self.status(instance)
            assert status.uplink == ifname, f"{instance} is on {status.uplink}: {status.uplink_reason}"
            assert status.state == State.READY, f"{instance} is {status.state}: {status.reason}"
            return status

        return wait_until(bound, what=f"{instance} on {ifname}")

    def dnsmasq(self, instance: str) -> int:
        """Return the pid of an instance's dnsmasq."""
        return int(self.host.read_file(self.daemon.run_dir / f"instances/{instance}/dnsmasq.pid"))

    def _table(self, topic: type[Any]) -> dict[str, Any]:
        async def read() -> dict[str, Any]:
            run_dir = self.host.path(self.daemon.run_dir)
            async with asyncio.timeout(DEADLINE), pubsub.connect(run_dir, agent="reader") as bus:
                return await bus.table(topic, agent="supervisor")

        return asyncio.run(read())

    # --- apps -------------------------------------------------------------------------------------------------------

    def _start_apps(self) -> None:
        """Start all apps at once; return when they run, with an address."""
        started = {}
        for app in self.apps:
            instance, _, name = app.partition("/")
            argv = [self.daemon.command, "run", instance, "--name", name, "--", *IDLE]
            started[app] = self.host.popen(
                argv, env=self.daemon.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        for process in started.values():
            assert process.stdout
            first = process.stdout.readline()
            assert first == "ready\n", first + process.stdout.read()

        def known() -> bool:
            statuses = self._table(AppNetworkStatus)
            assert self.apps.keys() <= statuses.keys()
            self.apps |= {app: statuses[app].pid for app in self.apps}
            return all(self.apps.values())

        wait_until(known, what="the apps' pids")

    def inside(self, app: str, *argv: object) -> list[object]:
        """Return the command that runs another one in the network namespace of an app, all rights kept."""
        return ["nsenter", f"--net=/proc/{self.apps[app]}/ns/net", "--", *argv]

    def run(self, app: str, *argv: object, check: bool = True) -> str:
        """Run a command in an app's network namespace; return what it prints."""
        return self.host.run(self.inside(app, *argv), check=check).stdout

    def fetch(self, app: str, url: str) -> str:
        """Return a page as an app gets it. Raises AssertionError with curl's words when it gets none."""
        with self.daemon.quoted(app.partition("/")[0]):
            return self.run(app, "curl", "-sSf", "--max-time", f"{DEADLINE:g}", url).strip()

    def asker(self, app: str, patience: float = DEADLINE) -> str:
        """Return as whom `outside` sees an app now, or curl's words."""
        url = f"http://{OUTSIDE}/"
        done = self.host.run(self.inside(app, "curl", "-sS", "--max-time", f"{patience:g}", url), check=False)
        return done.stdout.strip().removeprefix("outside to ") or done.stderr

    def wait_asker(self, app: str, address: str) -> None:
        """Return once `outside` sees an app as that address."""
        wait_until(lambda: self.asker(app, RETRY) == address, what=f"{app} seen as {address}")

    def reached(
        self, urls: Mapping[str, str], app: str = "", host: Host | None = None, must: Collection[str] = ()
    ) -> dict[str, str]:
        """Return the pages of those URLs that an app (or a host) gets, by their names. All are tried at once.

        Those that `must` come may be late: a slow machine is no failure.
        """
        patience = {what: DEADLINE / 2 if what in must else SHORT for what in urls}
        started = {
            what: (host or self.host).popen(
                [*(self.inside(app) if app else []), "curl", "-s", "--max-time", f"{patience[what]:g}", url],
                stdout=subprocess.PIPE,
            )
            for what, url in urls.items()
        }
        pages = {what: process.communicate(timeout=DEADLINE)[0] for what, process in started.items()}
        # An answer that isn't HTTP is one too.
        return {what: pages[what].strip() for what, process in started.items() if process.returncode not in UNREACHED}

    def serve(self, app: str, *argv: object) -> subprocess.Popen[str]:
        """Start a server in an app's network namespace: the words of traffic.py or talk.py."""
        script = TALK if argv[0] == "who" else TRAFFIC
        return self.host.start(self.inside(app, *PYTHON, script, *argv))

    def stream(self, app: str, address: str = OUTSIDE, port: int = 7) -> Stream:
        """Start a numbered stream from an app; it has had an answer when this returns."""
        return Stream(self.host.start(self.inside(app, *PYTHON, TRAFFIC, "stream", address, port)))

    @contextlib.contextmanager
    def held(self, app: str, address: str, count: int, patience: float = DEADLINE) -> Iterator[Callable[[], list[str]]]:
        """Hold connections from an app to a `who`; yields what asks on all of them and returns the answers."""
        argv = self.inside(app, *PYTHON, TALK, "hold", address, WHO_PORT, count, patience)
        process = self.host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin
        assert process.stdout
        first: list[str] | None = json.loads(process.stdout.readline())

        def ask() -> list[str]:
            nonlocal first
            answers, first = first, None
            if answers is None:
                assert process.stdin
                assert process.stdout
                process.stdin.write("\n")
                process.stdin.flush()
                answers = json.loads(process.stdout.readline())
            return answers

        try:
            yield ask
        finally:
            process.kill()
            process.wait(DEADLINE)

    # --- the path ---------------------------------------------------------------------------------------------------

    def seen(self, expression: str, action: Callable[[], object], cables: Iterable[Cable] = ()) -> dict[str, list[str]]:
        """Return what passes each uplink's cable while something is done, by the uplink's ifname.

        Each capture has seen a packet that must be there: an echo of the host's own.
        """
        cables = tuple(cables) or self.cables
        with contextlib.ExitStack() as stack:
            captures = {c.ifname: stack.enter_context(c.capture(f"({expression}) or icmp")) for c in cables}
            for cable in cables:
                self.host.sh(f"ping -q -c 1 -w 60 -I {cable.ifname} {cable.router}")
            action()
        for ifname, capture in captures.items():
            assert any("ICMP echo reply" in packet for packet in capture.packets), f"{ifname}: the capture is blind"
        return {
            # A neighbour that an earlier packet was for may be told to be absent only now.
            ifname: [line for line in capture.packets if "ICMP echo" not in line and "unreachable" not in line]
            for ifname, capture in captures.items()
        }


def go_home(moving: Rig) -> None:
    """Bring those of `moving` back to eth1 that stay where they are when eth1 comes back."""
    wait_until(lambda: moving.device("eth1").healthy and moving.device("eth2").healthy, what="both are healthy")
    if moving.status("faithful").uplink != "eth1":
        moving.config["instances"]["faithful"]["uplinks"] = ["eth1"]
        moving.configure()
        moving.wait_bound("faithful", "eth1")
        moving.config["instances"]["faithful"]["uplinks"] = ["eth1", "eth2"]
        moving.configure()
    wait_until(lambda: moving.status("even").uplinks == ("eth1", "eth2"), what="both uplinks in use")
    moving.wait_bound("other", "eth2")


def ends(packets: Iterable[str]) -> set[str]:
    """Return `source > target` of each packet of a capture, without ports."""
    found = set()
    for packet in packets:
        _, _, rest = packet.partition(": ")
        words = rest.split()
        position = words.index(">")
        found.add(f"{host_of(words[position - 1])} > {host_of(words[position + 1].rstrip(':'))}")
    return found


def host_of(end: str) -> str:
    """Return the address of `192.168.0.2.8080` or `2001:db8::1.80`, as tcpdump writes address and port."""
    return end.rpartition(".")[0] if end.count(".") in {1, 4} else end
