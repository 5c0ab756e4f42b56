"""A throwaway host: network and mount namespaces of its own, and a cgroup that holds all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.hosts.cgroup import Cgroup
from tests.hosts.waiting import DEADLINE

ROOT = Path(__file__).parents[2]  # the checkout
OWN_FOLDERS = ("/run/", "/etc/", "/var/lib/")  # what a host has of its own; the rest is the machine's
DHCP_SCRIPT = Path(__file__).with_name("dhcp-script")
RULESET = str(Path(__file__).with_name("ruleset"))  # prints what nft lists, as it can be compared
TRAFFIC = Path(__file__).with_name("traffic.py")

# Own /run; /etc and /var/lib are the machine's with a layer of our own above (written to, never through); own /sys,
# which shows the namespace's links. The first tmpfs holds those layers and vanishes below the second.
PREPARE = """
set -e
umask 022
mount -t tmpfs -o mode=755 tmpfs /run
for folder in etc var/lib; do
  mkdir -p "/run/$folder/upper" "/run/$folder/work"
  mount -t overlay overlay -o "lowerdir=/$folder,upperdir=/run/$folder/upper,workdir=/run/$folder/work" "/$folder"
done
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
rm -rf /etc/nsvisor /var/lib/nsvisor /etc/resolv.conf
mkdir -p /run/netns /run/lock /etc/nsvisor /var/lib/nsvisor
touch /etc/resolv.conf
sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 # or addresses appear seconds later
ip link set lo up
echo ready
exec sleep infinity
"""


class Host:
    """One host. A context manager; at its end, or when the test process dies, all its processes are killed.

    `/run`, `/etc` and `/var/lib` may be written freely; the rest of the file system is the machine's own.
    """

    def __init__(self, name: str = "host") -> None:
        self.name = name
        self.cgroup = Cgroup(name)
        argv = ["unshare", "--net", "--mount", "--propagation", "private", "--", "sh", "-c", PREPARE]
        holder = subprocess.Popen(self.cgroup.enter(argv), stdout=subprocess.PIPE, text=True)
        self.pid = holder.pid  # of the process that holds the namespaces
        self._children = [holder]
        assert holder.stdout
        if holder.stdout.readline() != "ready\n":
            self.close()
            raise RuntimeError(f"host {name}: could not be prepared, see the message above")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End every process of the host; its namespaces, links and mounts go with them."""
        self.cgroup.close()
        for child in self._children:
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe:
                    pipe.close()

    def pids(self) -> list[int]:
        """Return the pids of all processes that were started in this host and their offspring, the holder's not."""
        return [pid for pid in self.cgroup.pids() if pid != self.pid]

    def inside(self, argv: Sequence[object], netns: str = "") -> list[str]:
        """Return the command that runs `argv` in this host, in place of itself; with `netns` in that namespace."""
        enter = ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", f"--net=/proc/{self.pid}/ns/net", "--"]
        named = ["ip", "netns", "exec", netns] if netns else []
        return self.cgroup.enter([*enter, *named, *map(str, argv)])

    def run(
        self, argv: Sequence[object], *, netns: str = "", check: bool = True, text: str | None = None,
        timeout: float = 2 * DEADLINE, env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command to its end, `text` as its input.

        Raises AssertionError with the command's words when it fails and `check` is set, TimeoutExpired.
        """
        done = subprocess.run(
            self.inside(argv, netns), input=text, capture_output=True, text=True, timeout=timeout, check=False,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
        if check and done.returncode:
            words = f"{done.stdout}{done.stderr}".strip()
            raise AssertionError(f"{self.name}: {' '.join(map(str, argv))}: exit {done.returncode}: {words}")
        return done

    def sh(self, script: str, *, netns: str = "", check: bool = True) -> str:
        """Run a shell script, each line of which must succeed; return what it prints."""
        return self.run(["sh", "-euc", script], netns=netns, check=check).stdout

    def popen(
        self, argv: Sequence[object], *, netns: str = "", env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a command; the pid is the command's own. `options` are Popen's."""
        environment = {**os.environ, **(env or {})}
        child = subprocess.Popen(self.inside(argv, netns), env=environment, text=True, **options)
        self._children.append(child)
        return child

    def start(
        self, argv: Sequence[object], *, until: str = "ready", netns: str = "", stderr: IO[str] | int | None = None,
        **options: Any,
    ) -> subprocess.Popen[str]:  # fmt: skip
        """Start a server and return when it has printed a line that begins with `until`.

        Raises AssertionError when its output ends before that.
        """
        process = self.popen(argv, netns=netns, stdout=subprocess.PIPE, stderr=stderr, **options)
        assert process.stdout
        for line in process.stdout:
            if line.startswith(until):
                return process
        raise AssertionError(f"{self.name}: {' '.join(map(str, argv))}: ended with {process.wait()} before {until!r}")

    def path(self, path: str | Path) -> Path:
        """Return the path by which this process reaches a file of the host, while the host lives."""
        return Path(f"/proc/{self.pid}/root{path}")

    def put_file(self, path: str | Path, content: str, mode: int = 0o644) -> Path:
        """Write a file, atomically, making its folders. Raises ValueError outside of the host's own folders."""
        if not str(path).startswith(OWN_FOLDERS):
            raise ValueError(f"{path}: would be written on the machine itself; write below {', '.join(OWN_FOLDERS)}")
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.new")
        fresh.write_text(content)
        fresh.chmod(mode)
        fresh.replace(file)
        return Path(path)

    def read_file(self, path: str | Path) -> str:
        """Return the content of a file as this host sees it."""
        return self.path(path).read_text()

    def serve_page(self, text: str, port: int = 80, netns: str = "") -> subprocess.Popen[str]:
        """Start a web server whose page is `<text> to <address of the asker>`; it listens when this returns."""
        return self.start([sys.executable, "-SE", TRAFFIC, "page", str(port), text], netns=netns)

    def serve_echo(self, port: int = 7, netns: str = "") -> subprocess.Popen[str]:
        """Start a UDP echo server; it listens when this returns."""
        return self.start([sys.executable, "-SE", TRAFFIC, "echo", str(port)], netns=netns)

    def fetch(self, url: str, *, netns: str = "", timeout: float = DEADLINE) -> str:
        """Return the page at `url`. Raises AssertionError with curl's words when there is none."""
        return self.run(["curl", "-sSf", "--max-time", f"{timeout:g}", url], netns=netns).stdout

    def dhcp(self, ifname: str = "eth0", *, hostname: str = "", netns: str = "", keep: bool = False) -> dict[str, str]:
        """Get a lease by a real DHCP client and configure it; return what the server told, as udhcpc names it.

        With `keep` the client stays and renews. Raises AssertionError when no server answers within a minute.
        """
        options = [] if keep else ["-q"]
        options += ["-x", f"hostname:{hostname}"] if hostname else []
        client = ["busybox", "udhcpc", "-i", ifname, "-n", "-t", "60", "-T", "1", "-s", str(DHCP_SCRIPT)]
        # A client that stays goes to the background after its first lease: it must not hold our pipes then.
        log = "/run/dhcp-client.log"
        done = self.run(["sh", "-c", f'exec "$@" > {log} 2>&1', "sh", *client, *options], netns=netns, check=False)
        if done.returncode:
            raise AssertionError(f"{self.name}: no lease on {ifname}: {self.read_file(log)}")
        lines = [line.partition("=") for line in self.read_file(f"/run/dhcp-lease.{ifname}").splitlines()]
        return {key: value.strip("'") for key, _, value in lines}


def connect(one: Host, ifname: str, other: Host, other_ifname: str) -> None:
    """Join two hosts by a cable (veth); both ends are up: at once, for who waits for `ifname` may take it away."""
    one.sh(f"ip link add {ifname} up type veth peer name {other_ifname} netns {other.pid}")
    other.sh(f"ip link set {other_ifname} up")
