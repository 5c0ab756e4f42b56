"""What a local user without rights tries; run as one inside a host. Prints, as JSON, what came of each try.

`user.py RUN_DIR STATE_DIR CONFIG_DIR SUPERVISOR MANAGER`; standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

RUN, STATE, CONFIG = map(Path, sys.argv[1:4])
SUPERVISOR, MANAGER = map(int, sys.argv[4:6])
PUBLIC = {"hub.sock"}  # whoever connects is known to the hub, and granted nothing


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def open_pin() -> None:
    """The pin can be seen; entering asks for rights over the user namespace that owns it."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    with open("/run/netns/red") as pin:
        if libc.setns(pin.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")


def look(path: Path) -> None:
    if path.is_dir():
        list(path.iterdir())
    else:
        path.open("rb").close()


def tries() -> dict[str, Callable[[], object]]:
    """Return all that is tried once."""
    found: dict[str, Callable[[], object]] = {
        "connect to the control socket": lambda: connect(RUN / "control.sock"),
        "connect to charon": lambda: connect(RUN / "instances/red/charon.vici"),
        "enter an instance by its pin": open_pin,
        "unpin an instance": Path("/run/netns/red").unlink,
        "put a namespace where an instance's would be": partial(touch, "/run/netns/green"),
        "signal nsvisord": lambda: os.kill(SUPERVISOR, signal.SIGTERM),
        "signal a manager": lambda: os.kill(MANAGER, signal.SIGTERM),
        "be nsvisord": lambda: (RUN / "supervisor.lock").open("a"),
        "replace the hub's socket": (RUN / "bus/hub.sock").unlink,
        "replace the control socket": (RUN / "control.sock").unlink,
        "write a config": lambda: (CONFIG / "evil.yaml").write_text("instances: {}"),
        "change a config": lambda: (CONFIG / "test.yaml").open("a"),
        "put something beside the secrets": (CONFIG / "secrets/evil").touch,
        "read a secret": (CONFIG / "secrets/cloud").read_text,
        "read a config that holds user data": (CONFIG / "private.yaml").read_text,
        "take a port below 1024": lambda: socket.create_server(("", 67)),
        "send raw packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "change the host's nft": lambda: _run("nft", "delete", "table", "inet", "nsvisor"),
        "change the host's links": lambda: _run("ip", "link", "set", "v-red", "down"),
        "change the host's rules": lambda: _run("ip", "rule", "del", "pref", "2"),
    }
    for pid, who in ((SUPERVISOR, "nsvisord"), (MANAGER, "a manager")):
        for file in ("mem", "environ", "maps", "fd/0", "root/etc", "ns/net", "cwd/etc", "map_files"):
            path = Path(f"/proc/{pid}/{file}")
            found[f"read {file} of {who}"] = partial(look, path)
        found[f"trace {who}"] = partial(os.open, f"/proc/{pid}/mem", os.O_RDWR)
    return found


def touch(path: str) -> None:
    Path(path).touch(exist_ok=False)


def _run(*argv: str) -> None:
    import subprocess

    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(done.returncode, done.stderr)


def walk() -> dict[str, str]:
    """Try to read and to write whatever lies in our folders; return what could be done."""
    found = {}
    for top in (RUN, STATE):
        for folder, _, files in os.walk(top):
            for name in (*files, ""):
                path = f"{folder}/{name}"
                if os.access(path, os.W_OK) and name not in PUBLIC:
                    found[path] = "written"
                elif name and name not in PUBLIC and os.access(path, os.R_OK):
                    found[path] = "read"
    return found


def main() -> None:
    outcomes = {}
    for what, one in tries().items():
        try:
            one()
            outcomes[what] = "worked"
        except OSError as exc:
            outcomes[what] = str(exc)
    print(json.dumps({"tries": outcomes, "walk": walk(), "uid": os.getuid()}))


if __name__ == "__main__":
    main()
