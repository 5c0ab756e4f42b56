"""A manager doesn't list what it changed itself, and lists and mends what a stranger changed."""

from __future__ import annotations

import json
import sys

import pytest

from tests.hosts import Host

BOTH = ["inet", "bridge"]


@pytest.mark.parametrize(
    ("strange", "mended"),
    [
        ("add rule inet nsvisor c accept", ["inet"]),
        ("add rule bridge nsvisor c accept", ["bridge"]),
        ("delete table inet nsvisor_digest", ["inet"]),
        ("add table inet other", []),
    ],
)
def test_what_nobody_else_changed_is_known(strange: str, mended: list[str]) -> None:
    with Host("red") as host:
        told = host.run([sys.executable, "-m", "tests.functional.nsmanager.own_changes", strange]).stdout.splitlines()
    assert [json.loads(line) for line in told] == [
        ["made", [], []],
        ["own change", [], []],
        ["strange change", BOTH, mended],
        ["mended", [], []],
        ["deleted", [], []],
    ]
