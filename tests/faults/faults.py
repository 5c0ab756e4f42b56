"""What can happen to us: each fault is done to a running system, and ends by itself."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.starving import (
    STARVED,
    fill_disk,
    kill_all_on_a_full_disk,
    refuse_writes,
    starve_of_files,
    starve_of_memory,
)
from tests.faults.system import CHURN, System
from tests.hosts import DEADLINE

CHURNS = 8  # times that an instance is deleted and made again in a row


def kill_supervisor(system: System, _: str) -> None:
    system.rig.daemon.kill()
    system.signals += 1
    system.rig.daemon.start(ready=False)


def stop_supervisor(system: System, _: str) -> None:
    """By SIGTERM, as for an upgrade."""
    system.rig.daemon.stop()
    system.rig.daemon.start(ready=False)


def kill_hub(system: System, _: str) -> None:
    system.signal_all(signal.SIGKILL, *system.some(system.rig.hub))


def kill_spawner(system: System, _: str) -> None:
    system.signal_all(signal.SIGKILL, *system.some(system.rig.spawner))


def kill_manager(system: System, name: str) -> None:
    system.signal_all(signal.SIGKILL, *system.managers(name))


def kill_managers(system: System, _: str) -> None:
    system.signal_all(signal.SIGKILL, *system.managers())


def kill_service(system: System, name: str) -> None:
    system.signal_all(signal.SIGKILL, *system.services(name))


def kill_everything(system: System, _: str) -> None:
    others = [*system.managers(), *system.some(system.rig.hub), *system.some(system.rig.spawner)]
    system.rig.daemon.kill()
    system.signal_all(signal.SIGKILL, *others)
    system.rig.daemon.start(ready=False)


def freeze_hub(system: System, _: str) -> None:
    freeze(system, *system.some(system.rig.hub))


def freeze_manager(system: System, name: str) -> None:
    freeze(system, *system.managers(name))


def freeze_supervisor(system: System, _: str) -> None:
    freeze(system, system.rig.daemon.pid)


def freeze_spawner(system: System, _: str) -> None:
    freeze(system, *system.some(system.rig.spawner))


def freeze_services(system: System, name: str) -> None:
    freeze(system, *system.services(name))


def freeze(system: System, *pids: int) -> None:
    """Stop processes for a while."""
    system.signal_all(signal.SIGSTOP, *pids)
    time.sleep(STARVED)
    system.signal_all(signal.SIGCONT, *pids)


def stop_managers(system: System, _: str) -> None:
    """All at once by SIGTERM, as `nsvisor restart managers` does it."""
    system.signal_all(signal.SIGTERM, *system.managers())


def kill_a_guardian(system: System, name: str) -> None:
    """An app comes, and who stands over it is killed."""
    name = name if name in system.routed else system.routed[0]
    argv = [system.rig.daemon.command, "run", name, "--", "sh", "-c", "echo $$; exec sleep 1000"]
    command = system.rig.host.popen(
        argv,
        env=system.rig.daemon.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert command.stdout
    command.stdout.readline()  # or what went wrong: nsvisord may be away
    system.signal_all(signal.SIGKILL, *system.guardians(name))
    command.kill()
    command.wait(DEADLINE)


def apply_while_dying(system: System, name: str) -> None:
    """A config changes while a manager, the hub and nsvisord die."""
    system.churn(present=not system.churns)
    system.signal_all(signal.SIGKILL, *system.managers(name), *system.some(system.rig.hub))
    kill_supervisor(system, name)


def delete_and_create(system: System, _: str) -> None:
    """The same instance, again and again, faster than it can become ready."""
    for _number in range(CHURNS):
        system.churn(present=False)
        system.churn(present=True)


def delete_while_being_made(system: System, _: str) -> None:
    system.churn(present=True)
    netns = system.rig.host.path(f"/run/netns/{CHURN}")
    system.wait_until(netns.exists, what="its namespace")
    system.churn(present=False)


def start_a_second(system: System, _: str) -> None:
    """A second nsvisord on the same run-dir says so and ends."""
    daemon = system.rig.daemon
    system.wait_until(system.rig.daemon.is_ready, what="the first")
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
        (kill_managers, 2), (stop_managers, 2), (kill_service, 3), (kill_everything, 2), (kill_a_guardian, 1),
        (freeze_hub, 1), (freeze_manager, 1), (freeze_supervisor, 1), (freeze_spawner, 1), (freeze_services, 1),
        (fill_disk, 2), (kill_all_on_a_full_disk, 2), (starve_of_files, 2), (starve_of_memory, 1), (refuse_writes, 2),
        (apply_while_dying, 2), (delete_and_create, 2), (delete_while_being_made, 2), (start_a_second, 1),
    )
}  # fmt: skip
