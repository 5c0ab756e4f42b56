"""Measures a restart of nsvisord beside many running instances: until all are adopted, what it writes, what is lost.

An end of a manager while there was no nsvisord is part of it, and the replacement of all managers one at a time.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.crowd import ADOPTED, COUNT, Crowd
from tests.bench.instances import python_loop

COLUMNS = (
    *("restart of nsvisord", "first word", "adopted", "highest", "its CPU", "ready"),
    *("writes", "sent", "lost", "loop"),
)
REPETITIONS = 5  # of each kind of restart
EXPLANATION = """\
adopted: from the start of the new process until its log has told of every manager; first word: interpreter, imports
its CPU: seconds of CPU that it had taken when all were adopted: what it would take on a machine with nothing else to do
ready: until it told systemd so; then the first pass over the host is done, too
missed: from the start until a manager that was killed while there was no nsvisord has a successor that is ready
rolling: `nsvisor restart managers --rolling`, each manager in turn, its successor ready before the next one's turn
writes: as rtnetlink and nf_tables tell them, on the host and inside the instances with streams
sent, lost: datagrams of streams through some instances, there and back, over all restarts of the line
loop: ten million additions in Python right before"""


def main() -> int:
    """Measure. Returns 1 when a packet was lost, a manager not adopted or something written."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    loop = python_loop()
    table = Table(
        "restart of nsvisord",
        "first word",
        "adopted",
        "highest",
        "its CPU",
        "ready",
        *("writes", "sent", "lost", "loop"),
    )
    bad = 0
    with Crowd(count) as crowd:
        for number, words in ((signal.SIGTERM, "SIGTERM"), (signal.SIGKILL, "SIGKILL")):
            with crowd.watched() as found:
                runs = [restart(crowd, number) for _ in range(REPETITIONS)]
            first, adopted, cpu, ready = (statistics.median(column) for column in zip(*runs, strict=True))
            figures = [f"{value:.2f} s" for value in (first, adopted, max(run[1] for run in runs), cpu, ready)]
            table.add_row(words, *figures, *(str(found[key]) for key in ("writes", "sent", "lost")), f"{loop:.2f} s")
            bad += found["writes"] + found["lost"]
        Console(width=140).print(table)
        print(f"{count} instances, ready {crowd.seconds:.2f} s after their files began to be written")
        print(f"missed: {missed(crowd):.2f} s")
        with crowd.watched() as found:
            took = rolling(crowd)
        print(f"rolling: {took:.1f} s, {1000 * took / count:.0f} ms each; {found['sent']} sent, {found['lost']} lost")
        bad += found["lost"]
    print(EXPLANATION)
    return 1 if bad else 0


def restart(crowd: Crowd, number: signal.Signals) -> tuple[float, float, float, float]:
    """Restart nsvisord; return seconds: until its first word, until all are adopted, of its CPU, until it is ready."""
    daemon = crowd.daemon
    daemon.stop() if number is signal.SIGTERM else daemon.kill()
    since, began = crowd.log_size(), time.monotonic()
    daemon.start(ready=False)
    first = crowd.seconds_until(bool, since, began)
    wanted = set(crowd.names)
    adopted = crowd.seconds_until(lambda said: wanted <= {name for name, _ in ADOPTED.findall(said)}, since, began)
    cpu = cpu_of(daemon.pid)
    ready = crowd.seconds_until(lambda said: "ready: " in said, since, began)
    crowd.timed_until_ready(lambda: None)
    return first, adopted, cpu, ready


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has taken: proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def missed(crowd: Crowd) -> float:
    """Kill a manager while there is no nsvisord; return the seconds from the next one's start until that is mended."""
    daemon, name = crowd.daemon, crowd.names[-1]
    pid = int(daemon.instance(name)["pid"])
    daemon.stop()
    os.kill(pid, signal.SIGKILL)
    since, began = crowd.log_size(), time.monotonic()
    daemon.start(ready=False)
    crowd.seconds_until(lambda said: f"instance {name}: manager started" in said, since, began)
    crowd.timed_until_ready(lambda: None)
    return time.monotonic() - began


def rolling(crowd: Crowd) -> float:
    """Replace all managers, one at a time; return the seconds."""
    began = time.monotonic()
    crowd.daemon.cli("restart", "managers", "--rolling", "--timeout", "600s", check=True, timeout=3600)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
