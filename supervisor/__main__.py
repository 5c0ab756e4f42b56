"""nsvisord: the parent daemon. Stays in the foreground, logs to stderr, tells systemd when it is ready."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import IO

import pubsub
from nsmanager.namespace import Namespace
from pubsub import confd
from supervisor import __version__, configs, control
from supervisor.commands import Commands
from supervisor.configs import Configs
from supervisor.containment import Containment, find_root
from supervisor.containment.told import tell
from supervisor.endurance import endure
from supervisor.hub import keep_hub_running, stop_hub
from supervisor.instance import Paths
from supervisor.metrics import publish_uplinks
from supervisor.notify import notify, watchdog_interval
from supervisor.printable import printable
from supervisor.publications import Publications
from supervisor.supervisor import Supervisor
from supervisor.zygote import Zygote

log = logging.getLogger("nsvisord")


class Stop(Exception):  # noqa: N818 (no error: an end that was asked for)
    """The end was asked for."""


def main() -> int:
    """Run nsvisord. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="nsvisord", description="Supervise the network instances of this host.")
    parser.add_argument(
        "--config", type=Path, default=Path("/etc/nsvisor"), metavar="DIR", help="YAML files (%(default)s)"
    )
    parser.add_argument(
        "--run-dir", type=Path, default=Path("/run/nsvisor"), metavar="DIR", help="volatile files (%(default)s)"
    )
    parser.add_argument(
        "--state-dir", type=Path, default=Path("/var/lib/nsvisor"), metavar="DIR", help="lasting files (%(default)s)"
    )
    parser.add_argument(
        "--cgroup",
        default="",
        metavar="DIR",
        help="control group (v2) for the instances, that nobody else uses; none: limits by rlimits alone; "
        "default: beside our own, where systemd started us",
    )
    parser.add_argument("--version", action="version", version=f"nsvisord {__version__}")
    arguments = parser.parse_args()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter(log_format()))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    if os.geteuid():
        print("nsvisord: must be root: it makes namespaces and configures the host's network", file=sys.stderr)
        return 7
    paths = Paths(arguments.config.absolute(), arguments.run_dir.absolute(), arguments.state_dir.absolute())
    try:
        prepare(paths)
        lock = take_lock(paths.run)
    except OSError as exc:
        print(f"nsvisord: {exc}", file=sys.stderr)
        return 1
    with lock:
        try:
            asyncio.run(serve(paths, arguments.cgroup))
        except* Stop:
            log.info("stopped; networks, managers and services go on")
    return 0


class LogFormatter(logging.Formatter):
    """Writes messages so that what a manager said can neither control a terminal nor begin a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the line without a traceback."""
        return printable(super().formatMessage(record)).replace("\n", "\n    ")


def log_format() -> str:
    """Leave the time to journald where it listens."""
    return "%(levelname)s %(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(levelname)s %(message)s"


def prepare(paths: Paths) -> None:
    """Make the folders, and room for a pidfd and a bus connection per instance."""
    for folder in (paths.config, paths.run, paths.state):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    for folder in (paths.run / "instances", paths.run / "logs", paths.state / "instances"):
        folder.mkdir(mode=0o755, exist_ok=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def take_lock(run_dir: Path) -> IO[str]:
    """Be the only nsvisord of this run-dir. Raises OSError with the pid of the other."""
    path = run_dir / "supervisor.lock"
    lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")  # who can open it can lock it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        lock.seek(0)
        raise OSError(f"another nsvisord (pid {lock.read().strip()}) runs with --run-dir {run_dir}") from exc
    with contextlib.suppress(OSError):  # a full disk: the pid is only for those who ask whose lock it is
        os.ftruncate(lock.fileno(), 0)
        os.pwrite(lock.fileno(), f"{os.getpid()}\n".encode(), 0)
    return lock


async def serve(paths: Paths, group_folder: str) -> None:
    """Run everything until SIGTERM, SIGINT or `down`; then raises Stop, in a group."""
    loop = asyncio.get_running_loop()
    reload, stop, down, published = (asyncio.Event() for _ in range(4))
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    zygote, found = Zygote(), Configs()
    async with asyncio.TaskGroup() as group:
        group.create_task(stop_on(stop))
        hub = group.create_task(endure("hub", lambda: keep_hub_running(paths.run, paths.state)))
        group.create_task(endure("spawner", zygote.keep_running))
        group.create_task(endure("confd", lambda: confd.follow(paths.config, paths.run, reload, published)))
        # An instance that is not in the tables is ended: they must say what the files say before they are believed.
        await published.wait()
        async with (
            pubsub.connect(paths.run, agent="supervisor") as bus,
            Namespace() as ns,
            find_root(group_folder) as groups,
        ):
            publications = await Publications.open(bus)
            containment = Containment(groups)
            supervisor = Supervisor(paths, publications, found, ns, zygote, containment=containment)
            commands = Commands(supervisor, reload, down)
            async with asyncio.TaskGroup() as inner:
                inner.create_task(endure("configs", lambda: configs.follow(bus, found, supervisor.wake)))
                inner.create_task(endure("managers", lambda: supervisor.follow_managers(bus)))
                inner.create_task(endure("metrics", lambda: supervisor.metrics.follow(bus)))
                used = supervisor.metrics.resources
                inner.create_task(endure("resources", lambda: tell(bus, containment, publications.instances, used)))
                inner.create_task(publish_uplinks(bus, ns, lambda: supervisor.plan.candidates))
                inner.create_task(supervisor.run())
                inner.create_task(endure("control socket", lambda: control.serve(paths.run, commands.handle)))
                inner.create_task(endure("systemd", lambda: tell_systemd(supervisor)))
                await down.wait()
                hub.cancel()
                await stop_hub(paths.run)
                clear(paths.run)
                stop.set()


async def stop_on(stop: asyncio.Event) -> None:
    """End the group that this is part of, once the event is set."""
    await stop.wait()
    notify("STOPPING=1")
    raise Stop


async def tell_systemd(supervisor: Supervisor) -> None:
    """Say READY once the first pass is done, then feed the watchdog from the loop that would hang."""
    await supervisor.ready.wait()
    notify("READY=1", f"STATUS={len(supervisor.plan.instances)} instances")
    log.info("ready: %d instances", len(supervisor.plan.instances))
    interval = watchdog_interval()
    while interval:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)


def clear(run_dir: Path) -> None:
    """Remove what `down` leaves of the run-dir, but for the lock and the socket that are still in use."""
    for name in ("bus", "instances", "logs", "state"):
        shutil.rmtree(run_dir / name, ignore_errors=True)
    for name in ("probes.json", "sysctls.json"):
        (run_dir / name).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
