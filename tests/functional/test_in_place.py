"""A change takes nothing away, not for a moment, that packets of others look up: see nsmanager/items/nftables.py."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hosts import RULESET, monitors, wait_until
from tests.invariants.rig import Rig

RULES: list[dict[str, Any]] = [
    {"name": "some", "protocol": "udp", "limit": "1000/s"},
    {"name": "all", "protocol": "tcp"},
]
WEB: dict[str, Any] = {"address": "10.1.0.80", "ports": ["9107:9007/udp"], "rules": RULES}
RED: dict[str, Any] = {"subnet": "10.1.0.0/24", "apps": {"web": WEB}}
GREEN: dict[str, Any] = {**RED, "uplinks": ["eth0", "eth1"], "balance": True, "apps": {"web": {**WEB, "ports": []}}}
OTHER: dict[str, Any] = {"address": "10.1.0.81", "ports": ["9108:80/tcp"], "rules": RULES[:1]}
UNNAMED = re.compile(r"delete set \S+ nsvisor __set\d+$")  # of a rule; what is in it stays for who is inside the rule
GONE = ("delete element", "delete set", "delete map")


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig({"red": RED}, uplinks=2) as made:
        yield made


@contextlib.contextmanager
def changes(rig: Rig, netns: str = "") -> Iterator[list[list[str]]]:
    """Make a table of ours another one, and gather the transactions; complete after the context."""
    told: list[list[str]] = []
    noted = "nft list table inet nsvisor_digest"
    before = rig.host.sh(noted, netns=netns)
    with rig.host.path("/run/nft.monitor").open("w+") as output:
        monitor = rig.host.popen(["nft", "monitor"], netns=netns, stdout=output)
        monitors.wait_until_it_listens(monitor)
        yield told
        with rig.daemon.quoted("red"):
            wait_until(lambda: rig.host.sh(noted, netns=netns) != before, what="another table")
        monitors.stop(monitor)
        output.seek(0)
        told += [text.splitlines() for text in re.split("^# new generation.*\n", output.read(), flags=re.MULTILINE)]


def taken(told: list[list[str]], after: str) -> list[str]:
    """Return what went in transactions by which rules were made anew, though packets may look it up.

    An element may go where `after`, the ruleset that stands now, has none like it.
    """
    found = [line for one in told if any(line.startswith("delete rule") for line in one) for line in one]
    assert found
    assert not re.findall(r".* v?map { .*", after)  # it would be made anew with its rule
    gone = [line for line in found if line.startswith(GONE) and not UNNAMED.match(line)]
    return [
        line
        for line in gone
        if not line.startswith("delete element") or line.split(" { ")[1].removesuffix(" }") in after
    ]


def restarted(rig: Rig) -> None:
    """Have an nsvisord that didn't load the tables itself."""
    rig.daemon.stop()
    rig.daemon.start()


@pytest.mark.parametrize("is_new", [False, True], ids=["same", "new"])
def test_another_instance_comes_and_goes(rig: Rig, *, is_new: bool) -> None:
    if is_new:
        restarted(rig)
    rig.instances = {"red": RED, "green": GREEN}
    with changes(rig) as told:
        rig.configure()
        rig.wait_ready("red", "green")
    assert taken(told, rig.host.sh(RULESET)) == []
    if is_new:
        restarted(rig)
    rig.instances = {"red": RED}
    with changes(rig) as told:
        rig.configure()
    listed = rig.host.sh(RULESET)
    assert taken(told, listed) == []
    assert "v-green" not in listed


@pytest.mark.parametrize("is_new", [False, True], ids=["same", "new"])
def test_another_app_comes_and_goes(rig: Rig, *, is_new: bool) -> None:
    if is_new:
        os.kill(rig.manager("red"), signal.SIGKILL)
    rig.instances = {"red": {**RED, "apps": {"web": WEB, "other": OTHER}}}
    with changes(rig, "red") as told:
        rig.configure()
    assert taken(told, rig.host.sh(RULESET, netns="red")) == []
    rig.instances = {"red": RED}
    with changes(rig, "red") as told:
        rig.configure()
    listed = rig.host.sh(RULESET, netns="red")
    assert taken(told, listed) == []
    assert "other" not in listed
