"""A Python that anybody in a host can run: the one of the tests may lie in root's home."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from tests.hosts.host import ROOT, Host

PYTHON, CHECKOUT, PACKAGES = "/run/outsider/python", "/run/outsider/checkout", "/run/outsider/packages"
NSVISOR = "from supervisor.cli import main; main()"


def admit(host: Host) -> None:
    """Show interpreter, checkout and packages where everybody may look."""
    for source, target in ((sys.base_prefix, PYTHON), (ROOT, CHECKOUT), (sysconfig.get_path("purelib"), PACKAGES)):
        host.sh(f"mkdir -p {target}; mount --bind {source} {target}")


def python(*words: object) -> list[object]:
    """Return the command that runs Python with these words."""
    return ["env", f"PYTHONPATH={CHECKOUT}:{PACKAGES}", f"{PYTHON}/bin/python3", *words]


def nsvisor(*words: object) -> list[object]:
    """Return the command that runs `nsvisor` with these words."""
    return python("-c", NSVISOR, *words)


def script(path: Path) -> str:
    """Return where a file of the checkout is seen."""
    return f"{CHECKOUT}/{path.relative_to(ROOT)}"
