"""A machine that boots: systemd as pid 1 in a container, on a root file system of its own, at the uplink of a host.

The root file system is made once by mmdebstrap, of the release that this machine runs, and kept in CACHE; each machine
writes to a layer above it that lives in memory and ends with it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.hosts.cache import alone_in
from tests.hosts.host import ROOT, Host
from tests.hosts.waiting import wait_until

CACHE = Path("/var/cache/nsvisor-test")
BUILD_TIMEOUT = 600.0  # seconds to download and unpack a distribution; 30 are usual
BOOT_TIMEOUT = 120.0  # seconds; below one is usual
EXTRA_PACKAGES = ("systemd", "systemd-sysv", "curl")  # beside those of scripts/packages

# The layers; only the unified cgroup hierarchy, so that the container stays in the host's cgroup on every machine; the
# host becomes a switch between its uplink and the machine, which takes over the host's address.
PREPARE = """
mkdir -p /run/machine
mount -t tmpfs -o mode=755 tmpfs /run/machine
cd /run/machine
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$0,upperdir=$PWD/upper,workdir=$PWD/work" root
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link add br0 type bridge
ip addr flush dev eth0
ip link set eth0 master br0
ip link set br0 up
chroot root systemctl --quiet enable systemd-networkd
"""
UPLINK = """
[Match]
Name=host0
[Network]
Address=192.168.0.2/24
Gateway=192.168.0.1
"""
# In a pid namespace of its own, whose end is the end of all in it.
BOOT = (
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"),
    *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--link-journal=no", "--console=pipe"),
    *("--machine=nsvisor-test", "--directory=/run/machine/root", "--network-bridge=br0"),
    "--system-call-filter=add_key keyctl bpf",  # what docker needs to start a container
)


def root_file_system(more: tuple[str, ...] = ()) -> Path:
    """Return a root file system of this release with all that nsvisor needs; make it if it is not there.

    `more` are packages beside; with them it is another one, and of both sorts the last is kept.
    Raises AssertionError with mmdebstrap's words; nothing is left behind then.
    """
    release = platform.freedesktop_os_release()
    lines = [line.split() for line in (ROOT / "scripts/packages").read_text().splitlines()]
    packages = sorted({package for _, package, what in (line for line in lines if line[0] != "#") if what == "run"})
    packages += [*EXTRA_PACKAGES, *more]
    digest = hashlib.sha256(" ".join([release["VERSION_CODENAME"], *packages]).encode()).hexdigest()[:12]
    kind = "large" if more else "root"
    root = CACHE / f"{kind}-{digest}"
    with alone_in(CACHE):
        if not root.exists():
            for old in (*CACHE.glob(f"{kind}-*"), *CACHE.glob(f"making-{kind}-*")):
                shutil.rmtree(old)
            making = CACHE / f"making-{kind}-{os.getpid()}"
            sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob(f"{release['ID']}.sources")]
            mirrors = [str(source) for source in sources if source.exists() and source.stat().st_size]
            argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}"]
            done = subprocess.run(
                [*argv, release["VERSION_CODENAME"], str(making), *mirrors],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False,
            )  # fmt: skip
            if done.returncode:
                shutil.rmtree(making, ignore_errors=True)
                raise AssertionError(f"mmdebstrap: {done.stderr}")
            making.rename(root)
    return root


class Machine:
    """One machine at the uplink of a topology's host, whose address it has; the host does nothing else then.

    A context manager: install into `root`, then `boot`; at the end the plug is pulled.
    """

    def __init__(self, host: Host, packages: tuple[str, ...] = ()) -> None:
        self.host = host
        host.run(["sh", "-euc", PREPARE, root_file_system(packages)])
        self.root = host.path("/run/machine/root")
        self.put_file("/etc/systemd/network/10-uplink.network", UPLINK)
        self.put_file("/etc/resolv.conf", "nameserver 192.168.0.1\n")
        self._container: subprocess.Popen[str] | None = None
        self._init = 0  # pid of the machine's pid 1, as seen from here

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._container and self._container.poll() is None:
            if error:
                sys.stderr.write(self.run("journalctl", "-b", "--no-pager", "-o", "short-monotonic", check=False))
            self._container.kill()
            self._container.wait()

    def put_file(self, path: str, content: str) -> None:
        """Write a file of the machine, making its folders."""
        file = Path(f"{self.root}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # a link of the machine would lead to this one's file
        file.write_text(content)

    def boot(self) -> None:
        """Start the machine; return when it has come up: `systemctl is-system-running` says running."""
        with tempfile.TemporaryFile("w+") as console:
            self._container = self.host.popen(BOOT, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
            self._init = wait_until(self._find_init, BOOT_TIMEOUT, "the machine's pid 1")
        wait_until(self._is_up, BOOT_TIMEOUT, "the machine's start")

    def _find_init(self) -> int:
        """Return the pid of systemd: the first process below nspawn that has a pid namespace of its own."""
        assert self._container
        pid = self._container.pid
        while children := children_of(pid):
            pid = children[0]
            if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                return pid
        return 0

    def _is_up(self) -> bool:
        state = self.run("systemctl", "is-system-running", check=False).strip()
        assert state == "running", f"the machine is {state}: {self.run('systemctl', '--failed', check=False)}"
        return True

    def run(self, *argv: object, check: bool = True) -> str:
        """Run a command in the machine; return what it prints. With `check`, raises AssertionError when it fails."""
        inside = ["nsenter", "--all", f"--target={self._init}", "--", *argv]
        done = subprocess.run(list(map(str, inside)), capture_output=True, text=True, timeout=BOOT_TIMEOUT, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, argv))}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def power_off(self) -> None:
        """Shut the machine down in order; its disk stays, for the next `boot`."""
        assert self._container
        self.run("systemctl", "poweroff", check=False)
        self._container.wait(timeout=BOOT_TIMEOUT)


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children; none when it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
