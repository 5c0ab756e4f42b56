"""The hub and its clients as real processes that a test can kill, stop and start again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.hosts.host import ROOT
from tests.hosts.waiting import DEADLINE

ACTOR = Path(__file__).with_name("actor.py")
STRANGER = 1879048192  # a uid of nobody


class Hub:
    """`python -m pubsub`, in folders that may be handed on to the next one."""

    def __init__(self, folder: Path, *, uid: int | None = None) -> None:
        self.run_dir = folder / "run"
        self.state_dir = folder / "state"
        self.log = folder / "hub.log"
        self.uid = uid
        folder.chmod(0o755)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it; clients wait by themselves until it answers."""
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "pubsub",
            "--run-dir",
            self.run_dir,
            "--state-dir",
            self.state_dir,
        ]
        if self.uid is not None:
            command += ["--uid", str(self.uid), "--gid", str(self.uid)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; return its status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(DEADLINE)
        self.process = None
        return status

    def restart(self) -> None:
        """Kill it and start the next one."""
        self.kill()
        self.start()

    @property
    def pid(self) -> int:
        """The running one's."""
        assert self.process is not None
        return self.process.pid

    @property
    def tables(self) -> Path:
        """Where it keeps volatile tables."""
        return self.run_dir / "bus" / "tables"

    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak_memory(self) -> int:
        """Most resident bytes so far."""
        (line,) = [x for x in Path(f"/proc/{self.pid}/status").read_text().splitlines() if x.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    def close(self) -> None:
        """End it, if it runs."""
        if self.process is not None:
            self.kill()


class ActorFailed(Exception):  # noqa: N818  # says what happened
    """The bus refused what an actor was asked to do."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(f"{error}: {text}")
        self.error = error


class Actor:
    """One client process, asked by lines of JSON; see actor.py."""

    def __init__(self, run_dir: Path, agent: str, *, uid: int = 0) -> None:
        command: list[str | Path] = [sys.executable, ACTOR, run_dir, agent, str(uid)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, do: str, **arguments: Any) -> Any:
        """Have something done; return the answer. Raises ActorFailed."""
        self.tell(do, **arguments)
        return self.answer()

    def tell(self, do: str, **arguments: Any) -> None:
        """Ask without waiting; `answer` waits."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Wait for the answer to the oldest question. Raises ActorFailed."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the actor ended with status {self.process.wait(DEADLINE)}"
        answer = json.loads(line)
        if "error" in answer:
            raise ActorFailed(answer["error"], answer["text"])
        return answer["answer"]

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it with a signal."""
        self.process.send_signal(number)
        self.close()

    def close(self) -> None:
        """Close its input, which ends it politely."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(DEADLINE)
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
