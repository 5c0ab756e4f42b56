"""Measures whether one manager that hangs costs the others anything: the time of a change, with and without it.

Blocks of changes with a hung manager and without alternate in one run, so that a slow minute of the machine hits both.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

import pubsub
from pubsub.topics import NetworkInstanceStatus, State
from tests.bench.crowd import COUNT, Crowd
from tests.bench.figures import percentile
from tests.bench.instances import python_loop

ROUNDS = 3  # of a block without and a block with a hung manager
HUNG = 20.0  # seconds of each block: a minute of each kind in all
LOOK = 0.2  # seconds between two looks for a successor, which is stopped too
PATIENCE = 300.0  # seconds
EXPLANATION = """\
change: the file of one instance, drawn anew each time, is written and SIGHUP sent, until its status on the bus is ready
  with another digest: as a deployment tool does it
hung: the manager of another instance is stopped (SIGSTOP), and so is each successor that it gets from nsvisord
loop: ten million additions in Python right before"""


def main() -> int:
    """Measure."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    loop = python_loop()
    took: dict[bool, list[float]] = {False: [], True: []}
    with Crowd(count) as crowd:
        for number in range(2 * ROUNDS):
            is_hung = bool(number % 2)
            with hung(crowd, crowd.names[0]) if is_hung else contextlib.nullcontext():
                took[is_hung] += asyncio.run(changes(crowd, number))
    table = Table("one of", "others' changes", "p50", "p99", "highest", "loop")
    for is_hung, values in took.items():
        figures = [f"{1000 * value:.0f} ms" for value in (percentile(values, 50), percentile(values, 99), max(values))]
        table.add_row(f"{count}, one hung" if is_hung else str(count), str(len(values)), *figures, f"{loop:.2f} s")
    Console(width=100).print(table)
    for percent in (50, 99):
        print(f"p{percent} with / without: {percentile(took[True], percent) / percentile(took[False], percent):.2f}")
    print(EXPLANATION)
    return 0


async def changes(crowd: Crowd, block: int) -> list[float]:
    """Change instances, one after the other, for so long; return the seconds of each change."""
    drawn, took = random.Random(block), list[float]()
    async with pubsub.connect(crowd.run_dir, agent="bench") as bus, asyncio.timeout(PATIENCE):
        statuses = bus.subscribe(NetworkInstanceStatus, agent="supervisor")
        known: dict[str, NetworkInstanceStatus] = {}

        async def until(name: str, before: str) -> None:
            while not (name in known and known[name].state is State.READY and known[name].config != before):
                match await anext(statuses):
                    case pubsub.Created(key=key, value=status) | pubsub.Modified(key=key, value=status):
                        known[key] = status
                    case _:
                        pass

        for name in crowd.names[1:]:
            await until(name, "")
        end = time.monotonic() + HUNG
        while time.monotonic() < end:
            name = drawn.choice(crowd.names[1:])
            before, began = known[name].config, time.monotonic()
            address = f"10.1.0.{drawn.randrange(10, 250)}"
            crowd.change(name, {"subnet": "10.1.0.0/24", "apps": {f"a{block}-{len(took)}": {"address": address}}})
            await until(name, before)
            took.append(time.monotonic() - began)
    return took


@contextlib.contextmanager
def hung(crowd: Crowd, name: str) -> Iterator[None]:
    """Keep the manager of an instance, and each of its successors, from doing anything."""
    file = crowd.run_dir / f"state/{name}.json"
    done = threading.Event()

    def hold() -> None:
        while not done.wait(LOOK):
            signal_manager(file, signal.SIGSTOP)

    signal_manager(file, signal.SIGSTOP)
    holder = threading.Thread(target=hold)
    holder.start()
    try:
        yield
    finally:
        done.set()
        holder.join()
        signal_manager(file, signal.SIGCONT)


def signal_manager(file: Path, number: int) -> None:
    """Send a signal to the manager that is on a record, if it lives."""
    with contextlib.suppress(OSError, LookupError, ValueError, TypeError):
        os.kill(read_pid(file), number)


def read_pid(file: Path) -> int:
    """Return the manager's pid. Raises OSError, LookupError, ValueError, TypeError while there is none."""
    return int(json.loads(file.read_text())["manager"]["pid"])


if __name__ == "__main__":
    sys.exit(main())
