"""In the initial namespace nsvisord makes the kernel's tables large enough for its instances, and gives them back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pubsub.topics import LimitsConfig
from supervisor.kernel_tables import CONNECTIONS, NEIGHBOURS, SIZES, TIMES
from tests.hosts import DEADLINE, wait_until
from tests.hosts.host import ROOT

UPLINK = "floods0"
LIMITS = LimitsConfig(connections=20_000)
INSTANCE = {"uplinks": [UPLINK], "limits": {"connections": LIMITS.connections}}
CONFIG = {"instances": {"one": INSTANCE, "two": INSTANCE}}


@pytest.fixture
def folders(guest: None, folder: Path) -> Iterator[list[str]]:  # noqa: ARG001  # only in a guest
    """Yield nsvisord's options; it runs in the namespaces of this very process."""
    subprocess.run(["modprobe", "nf_conntrack"], check=True)
    (folder / "etc").mkdir()
    (folder / "etc/test.yaml").write_text(json.dumps(CONFIG))
    subprocess.run(["ip", "link", "add", UPLINK, "type", "veth", "peer", "name", "floods1"], check=True)
    try:
        yield ["--config", str(folder / "etc"), "--run-dir", "/run/floods", "--state-dir", str(folder / "state")]
    finally:
        subprocess.run(["ip", "link", "del", UPLINK], check=True)


def test_the_tables_are_sized_and_given_back(folders: list[str]) -> None:
    before = sizes()
    assert before[NEIGHBOURS[0]] < 2 * LIMITS.neighbours, "nothing to enlarge"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NSVISOR_RUN_DIR": "/run/floods"}
    with subprocess.Popen([sys.executable, "-m", "supervisor", *folders], env=environment) as daemon:
        try:
            wait_until(lambda: sizes()[NEIGHBOURS[0]] >= 2 * LIMITS.neighbours, what="larger tables")
            wait_until(lambda: sizes()[CONNECTIONS] >= 2 * TIMES * LIMITS.connections, what="more connections")
            assert all(now >= before[name] for name, now in sizes().items())
        finally:
            command = Path(sys.executable).with_name("nsvisor")
            subprocess.run([command, "down"], env=environment, check=True, timeout=2 * DEADLINE)
            daemon.wait(DEADLINE)
    assert sizes() == before


def sizes() -> dict[str, int]:
    """Return what the settings are now, those that there are."""
    paths = {name: Path("/proc/sys", *name.split(".")) for name in SIZES}
    return {name: int(path.read_text()) for name, path in paths.items() if path.exists()}
