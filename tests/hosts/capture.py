"""A capture whose silence proves something: a marked frame was seen at its start and at its end."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from types import TracebackType
from typing import Self

from tests.hosts.host import TRAFFIC, Host
from tests.hosts.traffic import FRAME_TYPE
from tests.hosts.waiting import DEADLINE, wait_until

COUNTER = itertools.count(1)
PATIENCE = 2.0  # seconds until another mark is sent


class Capture:
    """tcpdump on a link of a host (or of a named namespace in it). A context manager; look at `packets` after it."""

    def __init__(self, host: Host, ifname: str, expression: str = "", netns: str = "") -> None:
        self.host, self.ifname, self.netns = host, ifname, netns
        self.packets: list[str] = []  # after `stop`: a line each, as `tcpdump -e` prints them
        self._output = host.path(f"/run/capture-{next(COUNTER)}")
        wanted = [f"({expression}) or ether proto {FRAME_TYPE}"] if expression else []
        argv = ["tcpdump", "--immediate-mode", "-Z", "root", "-l", "-nn", "-e", "-A", "-i", ifname, *wanted]
        # To a file: a full pipe would make tcpdump wait and the kernel drop.
        with self._output.open("w") as output:
            self._process = host.popen(argv, netns=netns, stdout=output, stderr=subprocess.STDOUT)
        wait_until(lambda: "listening on" in self.text() or self._process.poll(), what=f"tcpdump on {ifname}")
        assert self._process.poll() is None, f"{host.name}: {self.text()}"
        self._mark("start")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> list[str]:
        """Stop and return the packets seen; the marked frames are not among them."""
        if self._process.poll() is None:
            self._mark("end")
            self._process.terminate()
            self._process.wait(DEADLINE)
            # A packet's first line begins with the time; its content follows.
            lines = [line for line in self.text().splitlines() if line[:2].isdigit() and " > " in line]
            self.packets = [line for line in lines if f"0x{FRAME_TYPE:04x}" not in line]
        return self.packets

    def text(self) -> str:
        """Return what was seen until now, with the packets' content."""
        return self._output.read_text(errors="replace")

    def _mark(self, text: str) -> None:
        """Send marked frames until the capture has one: on a busy machine it may miss the first."""
        mark = f"capture-{text}-{id(self)}"

        def seen() -> bool:
            self.host.run([sys.executable, "-SE", TRAFFIC, "frame", self.ifname, mark], netns=self.netns)
            with contextlib.suppress(AssertionError):
                wait_until(lambda: mark in self.text(), PATIENCE)
            return mark in self.text()

        wait_until(seen, what=f"{self.host.name}: the {text} mark in the capture")
