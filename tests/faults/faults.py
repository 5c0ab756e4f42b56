"""What can happen to us: each fault is done to a running system, and ends by itself."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.system import CHURN, System
from tests.hosts import DEADLINE, wait_until

STARVED = 1.5  # seconds that something is missing, or stands still
CHURNS = 8  # times that an instance is deleted and made again in a row


def signal_all(system: System, number: int, *pids: int) -> None:
    """Send a signal to those that live."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, AssertionError):
            os.kill(pid, number)
            system.signals += 1


def kill_supervisor(system: System, _: str) -> None:
    system.rig.daemon.kill()
    system.signals += 1
    system.rig.daemon.start(ready=False)


def stop_supervisor(system: System, _: str) -> None:
    """By SIGTERM, as for an upgrade."""
    system.rig.daemon.stop()
    system.rig.daemon.start(ready=False)


def kill_hub(system: System, _: str) -> None:
    signal_all(system, signal.SIGKILL, *system.some(system.rig.hub))


def kill_spawner(system: System, _: str) -> None:
    signal_all(system, signal.SIGKILL, *system.some(system.rig.spawner))


def kill_manager(system: System, name: str) -> None:
    signal_all(system, signal.SIGKILL, *system.managers(name))


def kill_managers(system: System, _: str) -> None:
    signal_all(system, signal.SIGKILL, *system.managers())


def kill_service(system: System, name: str) -> None:
    signal_all(system, signal.SIGKILL, *system.services(name))


def kill_everything(system: System, _: str) -> None:
    others = [*system.managers(), *system.some(system.rig.hub), *system.some(system.rig.spawner)]
    system.rig.daemon.kill()
    signal_all(system, signal.SIGKILL, *others)
    system.rig.daemon.start(ready=False)


def freeze_hub(system: System, _: str) -> None:
    freeze(system, *system.some(system.rig.hub))


def freeze_manager(system: System, name: str) -> None:
    freeze(system, *system.managers(name))


def freeze_supervisor(system: System, _: str) -> None:
    freeze(system, system.rig.daemon.pid)


def freeze(system: System, *pids: int) -> None:
    """Stop processes for a while."""
    signal_all(system, signal.SIGSTOP, *pids)
    time.sleep(STARVED)
    signal_all(system, signal.SIGCONT, *pids)


def fill_disk(system: System, _: str) -> None:
    """No byte more below the run and the state folder; then a manager dies, and a config changes."""
    with system.full_disk():
        signal_all(system, signal.SIGKILL, *system.managers()[:1])
        system.churn(present=not system.churns)
        time.sleep(STARVED)


def starve_of_files(system: System, _: str) -> None:
    """nsvisord can open nothing more for a while."""
    pid = system.rig.daemon.pid
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        opened = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (opened, before[1]))
        signal_all(system, signal.SIGKILL, *system.managers()[:1])
        time.sleep(STARVED)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def apply_while_dying(system: System, name: str) -> None:
    """A config changes while a manager, the hub and nsvisord die."""
    system.churn(present=not system.churns)
    signal_all(system, signal.SIGKILL, *system.managers(name), *system.some(system.rig.hub))
    kill_supervisor(system, name)


def delete_and_create(system: System, _: str) -> None:
    """The same instance, again and again, faster than it can become ready."""
    for _number in range(CHURNS):
        system.churn(present=False)
        system.churn(present=True)


def delete_while_being_made(system: System, _: str) -> None:
    system.churn(present=True)
    netns = system.rig.host.path(f"/run/netns/{CHURN}")
    wait_until(netns.exists, what="its namespace")
    system.churn(present=False)


def start_a_second(system: System, _: str) -> None:
    """A second nsvisord on the same run-dir says so and ends."""
    daemon = system.rig.daemon
    wait_until(system.is_alone, what="the first")
    argv: list[object] = [Path(daemon.command).with_name("nsvisord"), "--config", daemon.config_dir]
    argv += ["--run-dir", daemon.run_dir, "--state-dir", daemon.state_dir]
    second = system.rig.host.popen(
        argv, env=daemon.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    _, said = second.communicate(timeout=DEADLINE)
    assert second.returncode, said


# With how often each is wanted among all.
FAULTS: dict[str, tuple[Callable[[System, str], Any], int]] = {
    fault.__name__: (fault, weight)
    for fault, weight in (
        (kill_supervisor, 4), (stop_supervisor, 2), (kill_hub, 4), (kill_spawner, 2), (kill_manager, 4),
        (kill_managers, 2), (kill_service, 3), (kill_everything, 2), (freeze_hub, 1), (freeze_manager, 1),
        (freeze_supervisor, 1), (fill_disk, 2), (starve_of_files, 2), (apply_while_dying, 2), (delete_and_create, 2),
        (delete_while_being_made, 2), (start_a_second, 1),
    )
}  # fmt: skip
