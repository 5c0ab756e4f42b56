"""Runs one attack in place of a manager's main, by the spawner's own way: with exactly a manager's rights."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.attack.attacks import ATTACKS, Target


def main(name: str, run_dir: str, _state_dir: str) -> None:
    """Run the attack that `attack.json` in the instance's folder names; write `outcome.json` beside it."""
    folder = Path(run_dir, "instances", name)
    order = json.loads((folder / "attack.json").read_text())
    outcome = attempt(order["attack"], Target(**order["target"]))
    (folder / "outcome.json").write_text(json.dumps(outcome))


def attempt(attack: str, target: Target) -> tuple[int, str]:
    """Return errno and text of the refusal; 0 when the attack worked."""
    try:
        ATTACKS[attack].run(target)
    except OSError as exc:
        return exc.errno or -1, str(exc)
    return 0, "it worked"


def idle(_name: str, _run_dir: str, _state_dir: str) -> None:
    """Be the other instance's manager."""
    os.write(1, b"idle\n")
    signal.pause()
