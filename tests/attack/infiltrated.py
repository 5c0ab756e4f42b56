"""An instance whose manager is taken over beside an honest one, and what both tests of it ask."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.attack.outsider import admit, python, script
from tests.invariants.rig import Rig

ENTRY = Path(__file__).with_name("infiltrator.py")
INSTANCES: dict[str, Any] = {
    "red": {"subnet": "10.1.0.0/24", "uplinks": [], "log": {"flows": True, "dns": True}, "apps": {"web": {}}},
    "blue": {"subnet": "10.1.0.0/24", "uplinks": []},
}
OUTSIDE = "/var/lib/outside"  # a file of root's
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
STYLES = re.compile("\x1b\\[[0-9;]{0,8}m")


@contextlib.contextmanager
def infiltrated() -> Iterator[Rig]:
    """Start the daemon with red, which is hostile, and blue."""
    with Rig(INSTANCES) as made:
        admit(made.host)
        made.host.put_file(OUTSIDE, "untouched", mode=0o600)
        yield made


def infiltrate(rig: Rig, *words: object) -> list[object]:
    """Return the command that runs infiltrator.py with the ids, the namespaces and the limits of red's manager."""
    pid = rig.manager("red")
    size = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "Max file size" in line)
    enter = ["nsenter", "-t", pid, "-U", "-n", "-S", "0", "-G", "0", "--", "prlimit", f"--fsize={size.split()[3]}"]
    return [*enter, *python(script(ENTRY), *words)]


def harmless(text: str, *, rows: bool = False) -> None:
    """Raises AssertionError for what controls a terminal, or (in `rows`) looks like another instance's row."""
    found = CONTROLS.search(text)
    assert not found, repr(text[max(found.start() - 60, 0) : found.start() + 60])
    assert not rows or len(re.findall(r"^blue +local", text, re.MULTILINE)) <= 1
