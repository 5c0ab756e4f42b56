"""What the newborns of these tests do in place of a manager's main."""

import json
import os
import signal
import subprocess
import threading
from pathlib import Path


def idle(_name: str, _run_dir: str, _state_dir: str) -> None:
    print("idle", flush=True)
    signal.pause()


def threads(_name: str, _run_dir: str, _state_dir: str) -> None:
    """Have a second thread, as a manager with a bus connection has."""
    threading.Thread(target=signal.pause, daemon=True).start()
    print("idle", flush=True)
    signal.pause()


def fail(name: str, _run_dir: str, _state_dir: str) -> None:
    raise ValueError(f"{name} failed on purpose")


def leave(_name: str, _run_dir: str, _state_dir: str) -> None:
    raise SystemExit(7)


def look(name: str, run_dir: str, state_dir: str) -> None:
    """Print what a manager finds around it."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    facts = {
        "uid_map": Path("/proc/self/uid_map").read_text().split(),
        "caps": {key: int(value, 16) for key, value in status.items() if key.startswith("Cap")},
        "no_new_privs": status["NoNewPrivs"],
        "fds": sorted(int(entry.name) for entry in os.scandir("/proc/self/fd")),
        "environment": sorted(os.environ),
        "session": os.getsid(0) == os.getpid(),
        "limits": [
            Path(f"/proc/sys/user/max_{kind}_namespaces").read_text().strip() for kind in ("user", "net", "mnt")
        ],
        "root": names("/"),
        "run": names("/run"),
        "home": names("/home") + [name for name in names("/root") if name != ".pyenv"],
        "dev": names("/dev"),
        "run_dir": names(run_dir),
        "instances": names(f"{run_dir}/instances"),
        "state_dir": names(state_dir),
        "state_instances": names(f"{state_dir}/instances"),
        "owners": [
            Path(path).stat().st_uid
            for path in (
                f"{run_dir}/instances/{name}",
                f"{state_dir}/instances/{name}",
            )
        ],
        "links": names("/sys/class/net"),
        "writable": [
            path for path in ("/", "/etc", "/usr", "/run", "/dev", run_dir, state_dir, "/tmp") if writable(path)
        ],
        "own": [path for path in (f"{run_dir}/instances/{name}", f"{state_dir}/instances/{name}") if writable(path)],
        "pids": len([entry for entry in names("/proc") if entry.isdigit()]),
        "tun": subprocess.run(["sh", "-c", "ip tuntap add tun0 mode tun && ip link del tun0"], check=False).returncode,
        "environ_readable": bool(Path("/proc/self/environ").read_bytes()),
    }
    print(json.dumps(facts))


def names(folder: str) -> list[str]:
    return sorted(entry.name for entry in Path(folder).iterdir())


def writable(folder: str) -> bool:
    try:
        Path(folder, "probe").touch()
    except OSError:
        return False
    return True
