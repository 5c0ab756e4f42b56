"""nsvisord running in a throwaway host, and its command."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.hosts.host import ROOT, Host
from tests.hosts.notifications import Notifications
from tests.hosts.waiting import DEADLINE, wait_until

COUNTER = itertools.count(1)
LAST_LINES = 15  # of a log that a failure quotes


class Daemon:
    """One nsvisord. A context manager: starts it and waits for READY=1; at the end kills it, the host does the rest.

    Several in one host need folders of their own: `Daemon(host, folder="/run/second")`.
    """

    def __init__(
        self, host: Host, config: Mapping[str, Any] | str = "", folder: str = "", options: Sequence[str] = ()
    ) -> None:
        self.host = host
        self.options = options  # of nsvisord, beside its folders
        self.run_dir = Path(folder or "/run", "nsvisor")
        self.config_dir = Path(folder, "config") if folder else Path("/etc/nsvisor")
        # Where a daemon begins its uid ranges follows from this name: daemons of other test runs seldom meet ours.
        self.state_dir = Path(folder or "/var/lib", f"nsvisor-{os.getpid()}-{next(COUNTER)}")
        self.process: subprocess.Popen[str] | None = None
        self.notifications: Notifications | None = None  # what the running one told systemd
        self.log_file = self.run_dir.with_name(f"{self.run_dir.name}.log")  # in the host
        if config:
            self.configure(config)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error:
            sys.stderr.write(f"--- nsvisord in {self.host.name} ---\n{self.log()}")
        self.kill()
        self._hear_no_more()

    @property
    def pid(self) -> int:
        """The daemon's pid."""
        assert self.process, "nsvisord was not started"
        return self.process.pid

    def configure(self, config: Mapping[str, Any] | str, name: str = "test.yaml") -> Path:
        """Write a config file: YAML text or a mapping. The daemon sees it by itself."""
        text = config if isinstance(config, str) else json.dumps(config)  # JSON is YAML
        return self.host.put_file(self.config_dir / name, text)

    def start(self, ready: bool = True) -> None:
        """Start nsvisord; return when it has said READY=1 (or at once).

        Raises AssertionError with the log when it ends or is not ready in time.
        """
        for made in (self.config_dir, self.run_dir.parent):
            self.host.path(made).mkdir(parents=True, exist_ok=True)
        folders = ["--config", self.config_dir, "--run-dir", self.run_dir, "--state-dir", self.state_dir]
        self._hear_no_more()
        self.notifications = Notifications()
        environment = {**self.environment, "NOTIFY_SOCKET": self.notifications.address}
        with self.host.path(self.log_file).open("a") as log:
            self.process = self.host.popen(
                [sys.executable, "-m", "supervisor", *folders, *self.options],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        if ready:
            wait_until(lambda: self.is_ready() or self._has_ended(), what="READY=1 from nsvisord")
            assert self.is_ready(), f"nsvisord: ended with {self.process.returncode}:\n{self.log()}"

    def is_ready(self) -> bool:
        """Tell whether the one that runs has said READY=1."""
        return self.notifications is not None and "READY=1" in self.notifications.lines

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _hear_no_more(self) -> None:
        if self.notifications:
            self.notifications.close()
            self.notifications = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which `nsvisor` speaks to this daemon."""
        return {
            "PYTHONPATH": str(ROOT),
            "NSVISOR_RUN_DIR": str(self.run_dir),
            "NSVISOR_CONFIG_DIR": str(self.config_dir),
            "NSVISOR_STATE_DIR": str(self.state_dir),
        }

    def cli(
        self, *args: object, text: str | None = None, check: bool = False, timeout: float = 2 * DEADLINE
    ) -> subprocess.CompletedProcess[str]:
        """Run `nsvisor ARGS` in the host, `text` as its input. With `check`, raises AssertionError when it fails."""
        argv: list[object] = [self.command, *args]
        return self.host.run(argv, env=self.environment, text=text, check=check, timeout=timeout)

    @property
    def command(self) -> Path:
        """The `nsvisor` command of this checkout, for `host.popen(…, env=daemon.environment)`."""
        return Path(sys.executable).with_name("nsvisor")

    def get(self, what: str = "instances") -> list[dict[str, Any]]:
        """Return what `nsvisor get WHAT -o json` prints."""
        found: list[dict[str, Any]] = json.loads(self.cli("get", what, "-o", "json", check=True).stdout)
        return found

    def instance(self, name: str) -> dict[str, Any]:
        """Return the status of one instance, as `get` prints it. Raises AssertionError when there is none."""
        found = [status for status in self.get() if status["name"] == name]
        assert found, f"no instance {name}"
        return found[0]

    def wait_ready(self, *names: str, timeout: float = DEADLINE) -> None:
        """Return when all these instances are ready. Raises AssertionError with the command's words."""
        for name in names:
            with self.quoted(name):
                self.cli("wait", "instance", name, "--for", "ready", "--timeout", f"{timeout:g}s", check=True)

    @contextlib.contextmanager
    def quoted(self, name: str) -> Iterator[None]:
        """Add what nsvisord and an instance's manager said last to an AssertionError."""
        try:
            yield
        except AssertionError as exc:
            said = [self.log(), self.cli("logs", name).stdout]
            last = [line for text in said for line in ("-" * 40, *text.splitlines()[-LAST_LINES:])]
            raise AssertionError("\n".join((str(exc), *last))) from None

    def stop(self) -> int:
        """Stop nsvisord as systemd does, by SIGTERM; networks stay. Return its exit code."""
        assert self.process
        self.process.terminate()
        return self.process.wait(timeout=DEADLINE)

    def kill(self) -> None:
        """Kill nsvisord, if it runs."""
        if self.process:
            self.process.kill()
            self.process.wait(timeout=DEADLINE)

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Let nsvisord do nothing for a while, by SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def down(self) -> None:
        """Take everything down by `nsvisor down`; the daemon ends by itself."""
        assert self.process
        self.cli("down", check=True)
        self.process.wait(timeout=DEADLINE)

    def log(self) -> str:
        """Return what nsvisord has said since its first start."""
        return self.host.read_file(self.log_file)
