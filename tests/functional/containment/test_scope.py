"""nsvisord as a service of systemd: managers live in a scope beside it, and it can be started anew while they live."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import wait_until
from tests.hosts.host import ROOT
from tests.hosts.waiting import DEADLINE

pytestmark = pytest.mark.usefixtures("guest")

UNIT = f"nsvisor-test-{os.getpid()}"
SCOPE = Path(f"/sys/fs/cgroup/system.slice/{UNIT}-instances.scope")
PROPERTIES = (
    "Type=notify",
    "NotifyAccess=main",
    "KillMode=process",
    "Delegate=yes",
    "Restart=always",
    "RestartPreventExitStatus=0",
    "TimeoutStartSec=1500",
)


@pytest.fixture
def folders(folder: Path) -> Iterator[Path]:
    """nsvisord runs as a service of the machine itself, with one instance."""
    (folder / "config").mkdir()
    (folder / "config/test.yaml").write_text("instances: {red: {uplinks: []}}\n")
    try:
        yield folder
    finally:
        nsvisor(folder, "down")
        subprocess.run(["systemctl", "stop", UNIT], check=False)


def start(folders: Path) -> None:
    command = [sys.executable, "-m", "supervisor", "--config", str(folders / "config")]
    command += ["--run-dir", str(folders / "run"), "--state-dir", str(folders / "state")]
    properties = [f"--property={one}" for one in (*PROPERTIES, f"Environment=PYTHONPATH={ROOT}")]
    subprocess.run(["systemd-run", "--quiet", f"--unit={UNIT}", *properties, "--", *command], check=True)


def systemctl(*words: str) -> str:
    return subprocess.run(["systemctl", *words], check=True, capture_output=True, text=True).stdout.strip()


def shown(what: str) -> str:
    return systemctl("show", "--value", f"--property={what}", UNIT)


def nsvisor(folders: Path, *words: str) -> str:
    environment = {**os.environ, "NSVISOR_RUN_DIR": str(folders / "run"), "NSVISOR_CONFIG_DIR": str(folders / "config")}
    command = [str(Path(sys.executable).with_name("nsvisor")), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stdout


def red(folders: Path) -> dict[str, Any]:
    """Return red's status when it is ready."""

    def ready() -> dict[str, Any]:
        [status] = json.loads(nsvisor(folders, "get", "instances", "-o", "json"))
        assert status["state"] == "ready", status
        found: dict[str, Any] = status
        return found

    return wait_until(ready, 10 * DEADLINE, what="red")


def test_the_service_is_started_anew_while_its_managers_live(folders: Path) -> None:
    start(folders)
    born = red(folders)["pid"]
    assert (SCOPE / "red/manager/cgroup.procs").read_text().split()[0] == str(born)
    assert (SCOPE / "red/manager/memory.max").read_text() == f"{256 << 20}\n"

    daemon = shown("MainPID")
    systemctl("kill", "--kill-whom=main", "--signal=KILL", UNIT)
    wait_until(lambda: shown("MainPID") not in {"0", daemon} and shown("ActiveState") == "active", 20 * DEADLINE)
    assert red(folders)["pid"] == born

    systemctl("restart", UNIT)
    assert red(folders)["pid"] == born
    assert (SCOPE / "red/manager/cgroup.procs").read_text().split()[0] == str(born)

    nsvisor(folders, "down")
    wait_until(lambda: not SCOPE.exists(), 10 * DEADLINE, what="the scope's end with the last of its processes")
