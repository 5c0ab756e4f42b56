"""A manager that is fully taken over can't pose as another on the bus, nor read what isn't its own."""

# ruff: noqa: ASYNC220, ASYNC222, ASYNC240  # nothing else runs in these loops
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

import pubsub
from pubsub.topics import BusGrant, NamespaceConfig, NamespaceStatus
from pubsub.values import AddressRange, Duration
from tests.attack.bus import outcome
from tests.attack.conftest import Tally
from tests.functional.spawner.inside import RUN_DIR, STATE_DIR, inside, spawner, uid_base
from tests.hosts import Host
from tests.hosts.host import ROOT

HUB_UID = 0x7FFD_FFFF
OWN = ("publish_its_own_status", "read_its_own_config")
ATTACKS = (
    "publish_the_status_of_another",
    "read_the_config_of_another",
    "read_the_configs_of_all",
    "read_the_status_of_another",
    "read_what_is_granted",
    "read_all_instances",
    "publish_the_config_of_another_as_the_supervisor",
    "publish_its_own_config_as_the_supervisor",
    "grant_itself_everything_as_the_supervisor",
    "hold_the_lock_that_the_next_hub_needs",
)
CONFIG = NamespaceConfig(
    bridge=IPv4Interface("192.0.2.1/24"), mtu=1500, domain="x.internal", lease_time=Duration(60),
    range=AddressRange.parse("192.0.2.64-192.0.2.191"),
)  # fmt: skip


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, str]]:
    with Host() as host:
        yield inside(host, attack)


async def attack() -> dict[str, str]:
    """Be the supervisor of red and blue, with a real hub; red is taken over."""
    folders = ["--run-dir", str(RUN_DIR), "--state-dir", str(STATE_DIR)]
    users = ["--uid", str(HUB_UID), "--gid", str(HUB_UID)]
    hub = subprocess.Popen([sys.executable, "-m", "pubsub", *folders, *users], cwd=ROOT)
    try:
        async with spawner("red", "blue") as running, pubsub.connect(RUN_DIR, agent="supervisor") as bus:
            grants = await bus.publish(BusGrant)
            for number, name in enumerate(("red", "blue")):
                grants[str(uid_base(number))] = BusGrant(
                    publish=(f"nsmanager/{name}/*",), subscribe=(f"supervisor/{name}/NamespaceConfig",)
                )
                await bus.publish(NamespaceConfig, scope=name, initial={name: CONFIG})
            await grants.flush()
            log = os.open("/run/red.log", os.O_CREAT | os.O_RDWR)
            pid = await running.spawn_manager(
                "red", uid_base(0), RUN_DIR, STATE_DIR, log, entry="tests.attack.bus:main"
            )
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert status == 0, Path("/run/red.log").read_text()
            found: dict[str, str] = json.loads((RUN_DIR / "instances/red/outcome.json").read_text())
            async with pubsub.connect(RUN_DIR, agent="nsmanager") as root:
                found["root"] = await outcome(lambda: root.publish(NamespaceStatus, scope="blue"))
            return found
    finally:
        hub.kill()
        hub.wait()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_manager_is_denied(outcomes: dict[str, str], name: str, tally: Tally) -> None:
    tally()
    assert outcomes[name] == "denied"


@pytest.mark.parametrize("name", [*OWN, "root"])
def test_what_is_granted_works(outcomes: dict[str, str], name: str) -> None:
    assert outcomes[name] == "worked"
