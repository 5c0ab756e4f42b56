"""What a manager that was taken over does to those who read what it writes. Runs as uid 0 of its user namespace.

`infiltrator.py speak|litter|flood …`: hostile messages on the bus, hostile things in the place of its files, and a log
without end. See `test_infiltrator.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pubsub
from pubsub.topics import (
    Direction,
    DnsQuery,
    IPFlow,
    Lease,
    NamespaceStatus,
    NetworkInstanceMetrics,
    ResourceUse,
    ServiceStatus,
    TunnelStatus,
    Verdict,
)
from pubsub.values import IpAddress

ESCAPES = "\x1b[2J\x1b]0;pwned\x07\x9b31m\x7f\u202e\rblue  local  ready\nblue  local  failed"
HUGE = 1 << 40  # connections that it says to have, at least
SYS_PIDFD_GETFD = 438
DEEP = 1200  # folders, one in the other: more than a path or Python's recursion can hold
MANY = 2000  # files
SOURCE = IpAddress.parse("10.1.0.9")


def statuses(digest: str) -> dict[str, NamespaceStatus]:
    """Return hostile statuses by their keys: one in its own name."""
    hostile = NamespaceStatus(
        config=digest,
        ready=False,
        errors=(ESCAPES,),
        waiting=(ESCAPES, "x" * 100_000),
        ports=(ESCAPES,),
        leases=(
            Lease(address=IPv4Address("10.1.0.9"), mac=ESCAPES, hostname=ESCAPES, expires=2**62),
            Lease(address=IPv4Address("10.1.0.9"), mac="", hostname="", expires=-(2**62)),
        ),
        services=(
            ServiceStatus(name=ESCAPES, pid=1, restarts=-1, error=ESCAPES),
            ServiceStatus(name="dnsmasq", pid=-5, restarts=2**62, error=""),
            ServiceStatus(name="dnsmasq", pid=2**62, restarts=0, error=ESCAPES),
        ),
        tunnels=(TunnelStatus(name=ESCAPES, up=True, reason=ESCAPES, local=ESCAPES),),
    )
    return {"red": hostile, "blue": hostile, ESCAPES: hostile, "": hostile}


def uses(number: int) -> NetworkInstanceMetrics:
    """Return hostile counts."""
    huge = ResourceUse(name="connections", used=HUGE + number, limit=1, refused=HUGE)
    return NetworkInstanceMetrics(resources=(huge, ResourceUse(name=ESCAPES, used=-1)))


async def speak(run_dir: str, digest: str) -> None:
    """Publish hostile statuses and records in the name of red, as soon as its table is free; then stay."""
    async with pubsub.connect(Path(run_dir), agent="nsmanager") as bus:
        print("begun", flush=True)
        while True:
            with contextlib.suppress(pubsub.TableTaken):
                table = await bus.publish(NamespaceStatus, scope="red", initial=statuses(digest))
                break
            await asyncio.sleep(0.01)
        await table.flush()
        metrics = await bus.publish(
            NetworkInstanceMetrics, scope="red", initial=dict.fromkeys(statuses(digest), uses(0))
        )
        flows = await bus.open_stream(IPFlow, scope="red")
        queries = await bus.open_stream(DnsQuery, scope="red")
        for at in (0.0, 1e300, float("nan"), -float("inf")):
            flows.append(
                IPFlow(
                    app=ESCAPES, rule=ESCAPES, verdict=Verdict.ALLOWED, direction=Direction.OUT, protocol=ESCAPES,
                    source=SOURCE, destination=SOURCE, start=at, end=at, peer_app=ESCAPES,
                )
            )  # fmt: skip
            queries.append(
                DnsQuery(
                    app=ESCAPES, source=SOURCE, protocol=ESCAPES, name=ESCAPES, type=ESCAPES, at=at, code=ESCAPES,
                    answers=(ESCAPES,),
                )
            )  # fmt: skip
        await flows.flush()
        await queries.flush()
        print("ready", flush=True)
        for number in itertools.count(1):  # again and again, for who is lied about tells the truth in between
            metrics.update(dict.fromkeys(metrics, uses(number)))
            await asyncio.sleep(0.1)


def litter(outside: str, *folders: str) -> None:
    """Put a fifo, a link or a folder in the place of each file, and much and deep beside them."""
    for folder in folders:
        for number, path in enumerate(sorted(Path(folder).iterdir())):
            path.unlink()
            match number % 3:
                case 0:
                    os.mkfifo(path)
                case 1:
                    path.symlink_to(outside)
                case _:
                    path.mkdir()
        for name in ("vpn-cloud.psk", ".vpn-cloud.psk.new", "attack.new", ESCAPES.replace("/", "")):
            Path(folder, name).symlink_to(outside)
        for number in range(MANY):
            Path(folder, f"file-{number}").touch()
        at = os.open(folder, os.O_RDONLY)
        for _ in range(DEEP):
            os.mkdir("deep", dir_fd=at)
            inner = os.open("deep", os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = inner


def beat(path: str, text: str) -> None:
    """Write something else than a time into the heartbeat."""
    Path(path).write_text(text)


def flood(manager: str, size: str) -> None:
    """Write so many bytes of hostile log: the manager's own descriptor can be had by who has its ids."""
    libc = ctypes.CDLL(None, use_errno=True)
    log = libc.syscall(SYS_PIDFD_GETFD, os.pidfd_open(int(manager)), 2, 0)
    if log < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    block = (ESCAPES + "\n").encode(errors="replace") * 1000
    written = 0
    try:
        while written < int(size):
            written += os.write(log, block)
    except OSError as exc:
        print(f"stopped after {written}: {exc.strerror}")
    print(f"wrote {written}")


if __name__ == "__main__":
    mode, *words = sys.argv[1:]
    match mode:
        case "speak":
            asyncio.run(speak(*words))
        case "litter":
            litter(*words)
        case "beat":
            beat(*words)
        case "flood":
            flood(*words)
