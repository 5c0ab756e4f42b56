"""The cgroup of one throwaway host: by it every process of the host is found and ended, whatever became of it."""

import itertools
import os
import subprocess
from pathlib import Path

from tests.hosts.waiting import DEADLINE

COUNTER = itertools.count(1)

# Ends all and removes the cgroup after a line or the end of its input, which comes when the test process dies too.
# Deletion is retried: a killed process leaves its cgroup only when it was reaped.
SWEEP = """
read -r _
while [ -d "$0" ]; do
  echo 1 > "$0/cgroup.kill" # again: who was about to enter is in it now
  find "$0" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.01
done
"""


class Cgroup:
    """A cgroup (v2) below that of this process. Raises RuntimeError where none can be made."""

    def __init__(self, name: str) -> None:
        self.path = own_cgroup() / f"nsvisor-test-{os.getpid()}-{next(COUNTER)}-{name}"
        try:
            self.path.mkdir()
        except OSError as exc:
            raise RuntimeError(f"throwaway hosts need root and a writable cgroup v2 hierarchy: {exc}") from exc
        self.procs = self.path / "cgroup.procs"
        # A session of its own: Ctrl-C ends the test run, and the sweeper must still do its work then.
        self._sweeper = subprocess.Popen(
            ["sh", "-c", SWEEP, str(self.path)], stdin=subprocess.PIPE, start_new_session=True
        )

    def enter(self, argv: list[str]) -> list[str]:
        """Return the command that runs `argv` in this cgroup, in place of itself."""
        return ["sh", "-c", 'echo 0 > "$0" && exec "$@"', str(self.procs), *argv]

    def pids(self) -> list[int]:
        """Return the pids of all processes in it and below it."""
        files = [self.procs, *self.path.rglob("*/cgroup.procs")]
        return sorted(int(pid) for file in files for pid in file.read_text().split())

    def close(self) -> None:
        """End all processes of the cgroup and remove it."""
        if self._sweeper.stdin and not self._sweeper.stdin.closed:
            self._sweeper.stdin.write(b"\n")
            self._sweeper.stdin.close()
        self._sweeper.wait(DEADLINE)


def own_cgroup() -> Path:
    """Return the folder of this process's cgroup in the v2 hierarchy, whether it is the only one or beside v1's."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            mountpoint = before.split()[4]
            break
    else:
        raise RuntimeError("no cgroup v2 hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")
    entry = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    return Path(mountpoint + entry.removeprefix("0::"))
