"""Many instances on one throwaway host, with streams through some of them: what benches of survival share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from tests.bench.instances import monitored, settle_kernel, timed_until
from tests.hosts import Daemon, Topology
from tests.hosts.host import TRAFFIC
from tests.hosts.topology import OUTSIDE
from tests.hosts.traffic import Stream

COUNT = 256
STREAMS = 8  # instances with a stream
RATE = 100  # datagrams a second of each stream
PORT = 9007
POLL = 0.002  # seconds between two looks at nsvisord's log
PATIENCE = 300.0  # seconds
ADOPTED = re.compile(r"instance (\S+): manager adopted, pid (\d+)")


class Crowd:
    """A context manager; all instances are ready in it. `seconds` tells how long that took."""

    def __init__(self, count: int = COUNT) -> None:
        self._stack = contextlib.ExitStack()
        self.names = [f"t{number}" for number in range(count)]
        settle_kernel()
        self.topology = self._stack.enter_context(Topology())
        self.host = self.topology.host
        self.daemon = self._stack.enter_context(Daemon(self.host))
        self.run_dir = self.host.path(self.daemon.run_dir)
        self.seconds = 0.0

    def __enter__(self) -> Self:
        try:
            self.seconds = self.timed_until_ready(self._configure)
            self.topology.outside.start([sys.executable, "-SE", TRAFFIC, "echo", PORT])
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _configure(self) -> None:
        for name in self.names:
            self.daemon.configure({"instances": {name: {"subnet": "10.1.0.0/24"}}}, f"{name}.yaml")
        os.kill(self.daemon.pid, signal.SIGHUP)

    def change(self, name: str, config: dict[str, Any]) -> None:
        """Give an instance another config."""
        self.daemon.configure({"instances": {name: config}}, f"{name}.yaml")
        os.kill(self.daemon.pid, signal.SIGHUP)

    def timed_until_ready(self, start: Callable[[], object]) -> float:
        """Start something; return the seconds until all instances are ready."""
        return asyncio.run(timed_until(self.run_dir, self.names, start))

    @contextlib.contextmanager
    def watched(self) -> Iterator[dict[str, Any]]:
        """Send streams and count writes meanwhile; the mapping has `writes`, `sent` and `lost` at the end."""
        found: dict[str, Any] = {}
        some = self.names[:: max(1, len(self.names) // STREAMS)][:STREAMS]
        command = [sys.executable, "-SE", TRAFFIC, "stream", OUTSIDE, PORT, RATE]
        flows = [self.host.start(command, netns=name) for name in some]
        with monitored(self.host) as count, inside(self, some) as count_inside:
            yield found
            found["writes"] = count() + count_inside()
        counted = [Stream(flow).stop() for flow in flows]
        found["sent"] = sum(one["sent"] for one in counted)
        found["lost"] = sum(one["lost"] for one in counted)

    def log_size(self) -> int:
        """Return how much nsvisord has said so far."""
        return self.host.path(self.daemon.log_file).stat().st_size

    def said(self, since: int = 0) -> str:
        """Return what nsvisord said after that."""
        with self.host.path(self.daemon.log_file).open("rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")

    def seconds_until(self, holds: Callable[[str], bool], since: int, began: float) -> float:
        """Return the seconds after `began` at which nsvisord's log since `since` was so. Raises TimeoutError."""
        while not holds(self.said(since)):
            if time.monotonic() - began > PATIENCE:
                raise TimeoutError("nsvisord doesn't say what was waited for")
            time.sleep(POLL)
        return time.monotonic() - began


@contextlib.contextmanager
def inside(crowd: Crowd, names: list[str]) -> Iterator[Callable[[], int]]:
    """Give a function that counts what rtnetlink and nf_tables told inside these instances."""
    seen = crowd.host.path(crowd.host.put_file("/run/monitored-inside", ""))
    monitors: list[subprocess.Popen[str]] = []
    try:
        for name in names:
            for command in ("ip monitor link address route rule", "nft monitor"):
                argv = ["sh", "-c", f"exec {command} >> /run/monitored-inside"]
                monitors.append(crowd.host.popen(argv, netns=name))
        yield lambda: len(seen.read_text().splitlines())
    finally:
        for monitor in monitors:
            monitor.terminate()
            monitor.wait()
