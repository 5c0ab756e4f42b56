"""The rules of the house are noticed when broken."""

import importlib.util
from collections.abc import Callable

import pytest

from tests.hosts.host import ROOT

spec = importlib.util.spec_from_file_location("house", ROOT / "scripts/lint/house.py")
assert spec
assert spec.loader
house = importlib.util.module_from_spec(spec)
spec.loader.exec_module(house)
breaches: Callable[[str, str], list[tuple[int, str]]] = house.breaches


@pytest.mark.parametrize(
    ("file", "text", "what"),
    [
        ("pubsub/hub.py", "from nsmanager import plan\n", "imports go pubsub <- nsmanager <- supervisor"),
        ("nsmanager/x.py", "def f():\n    import supervisor.plan\n", "nsmanager imports supervisor.plan"),
        ("supervisor/x.py", "from tests.hosts import Host\n", "the product doesn't know its tests"),
        ("nsmanager/plan.py", "import os\n", "a pure file imports os"),
        ("supervisor/instances/local.py", "from time import monotonic\n", "a pure file imports time"),
        ("nsmanager/plan.py", "from nsmanager.manager import main\n", "nsmanager/manager.py, which isn't pure"),
        ("nsmanager/plan.py", "import pubsub\n", "pubsub/__init__.py, which isn't pure"),
        ("nsmanager/plan.py", "open('/proc/uptime')\n", "a pure file calls open()"),
        ("supervisor/x.py", "pass\n" * 401, "401 lines, 400 allowed"),
        ("supervisor/x.py", "def f():\n" + "    pass\n" * 61, "f has 61 lines, 60 allowed"),
    ],
)
def test_a_breach_is_named(file: str, text: str, what: str) -> None:
    (found,) = breaches(file, text)
    assert what in found[1]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("supervisor/x.py", "import os, pubsub\nfrom nsmanager.items.link import Link\n"),
        ("nsmanager/plan.py", "from pubsub.topics import NamespaceConfig\nfrom nsmanager.items.link import Link\n"),
        ("nsmanager/plan.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio\n"),
        ("supervisor/x.py", 'def f():\n    """Doc.\n' + "\n" * 70 + '    """\n' + "    pass\n" * 60),
    ],
)
def test_what_is_allowed_is_no_breach(file: str, text: str) -> None:
    assert breaches(file, text) == []
