"""Gathers facts about the host, for `doctor`; changes nothing, needs no nsvisord."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from nsmanager.services import charon
from pubsub.config.directory import read_directory
from pubsub.config.merge import Configuration, read_files
from pubsub.errors import BusError
from supervisor.cli.diagnosis.forwarding import obstacles_here
from supervisor.fullness import STATISTICS, entries

PROBE_TIMEOUT = 10.0  # seconds for one probe; loading a module takes a fraction of one

SYSCTLS = (
    "fs.inotify.max_user_instances",
    "kernel.apparmor_restrict_unprivileged_userns",
    "kernel.pid_max",
    "net.ipv4.neigh.default.gc_thresh3",
    "net.ipv6.neigh.default.gc_thresh3",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
    "user.max_net_namespaces",
    "user.max_user_namespaces",
)

NAT_PROBE = """
table inet probe {
  map portmap { type inet_proto . inet_service : ipv4_addr . inet_service; }
  chain pre { type nat hook prerouting priority dstnat; dnat ip to meta l4proto . th dport map @portmap; }
  chain post { type nat hook postrouting priority srcnat; masquerade; }
}
"""
# Whether who owns a network namespace can put the other end of a veth into any (CVE-2026-31692).
STRAY_PEER = "unshare -U -r -n ip link add name probe0 type veth peer name probe1 netns /proc/self/fd/9 2> /dev/null"
STRAYED = "any namespace can put a link into the host (CVE-2026-31692)"
GUARD = f"exec 9< /proc/self/ns/net; ! {STRAY_PEER} || {{ echo '{STRAYED}' >&2; exit 1; }}"
# Each in a network namespace of its own, which vanishes with it.
PROBES = {
    "network namespaces": ["unshare", "-n", "true"],
    "user namespaces": ["unshare", "-U", "-n", "true"],
    "veth links": ["unshare", "-n", "ip", "link", "add", "name", "probe0", "type", "veth", "peer", "name", "probe1"],
    "bridges": ["unshare", "-n", "ip", "link", "add", "name", "probe0", "type", "bridge"],
    "nft with NAT and maps": ["unshare", "-n", "nft", NAT_PROBE],
    "guarded peers": ["unshare", "-n", "sh", "-c", GUARD],
}
# The same where the config has a use for it.
WIREGUARD_PROBE = {"WireGuard": ["unshare", "-n", "ip", "link", "add", "name", "probe0", "type", "wireguard"]}
STEERING_PROBE = {"packet steering": ["cat", "/sys/class/net/lo/queues/rx-0/rps_cpus"]}
LIBRARIES = ("libnftables.so.1",)
BINARIES = ("ip", "dnsmasq", "radvd", "nft", "udhcpc", "busybox", "conntrack", "tcpdump")


class HostFacts(msgspec.Struct, frozen=True):
    """What `judge` needs to know."""

    uid: int
    kernel: str  # as 6.1.0-13-amd64
    python: tuple[int, ...]
    probes: Mapping[str, str]  # name -> why it failed; empty: it works
    libraries: Mapping[str, bool]
    binaries: Mapping[str, str]  # name -> path; empty: not found
    sysctls: Mapping[str, int]  # those that this kernel has
    neighbours: Mapping[str, int]  # version of IP -> entries of all namespaces; empty: not told here
    open_files: int  # hard limit
    obstacles: tuple[str, ...]  # what of the rules of others drops packets of instances
    firewalls: tuple[str, ...]  # known ones that run here
    shared_netns: bool  # /run/netns, or the mount above it, hands mounts on to others
    instances: int  # configured
    missing_for_tunnels: tuple[str, ...]  # packages that VPN instances need; empty too where none is configured
    config_problems: tuple[str, ...]
    daemon: str  # version and pid of the running one; empty: none
    daemon_error: str
    shortages: tuple[tuple[str, str, str], ...] = ()  # instances near a limit: which, what of, what to do


def look(config_dir: Path, run_dir: Path) -> HostFacts:
    """Look around. Takes a fraction of a second."""
    found = read_files(read_directory(config_dir)) if config_dir.exists() else read_files({})
    daemon, daemon_error = _daemon(run_dir)
    return HostFacts(
        uid=os.geteuid(),
        kernel=platform.release(),
        python=tuple(map(int, platform.python_version_tuple()[:2])),
        probes={name: _probe(argv) for name, argv in _probes(found).items()} if os.geteuid() == 0 else {},
        libraries={name: _loads(name) for name in LIBRARIES},
        binaries={name: _which(name) for name in BINARIES},
        sysctls={name: value for name in SYSCTLS if (value := _sysctl(name)) is not None},
        neighbours={version: entries(path.read_text()) for version, path in STATISTICS.items() if path.exists()},
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        obstacles=obstacles_here() if os.geteuid() == 0 else (),
        firewalls=tuple(sorted({"dockerd", "firewalld", "ufw"} & _running())),
        shared_netns=_is_shared(Path("/proc/self/mountinfo").read_text(), "/run/netns"),
        instances=len(found.instances),
        missing_for_tunnels=_missing_for_tunnels(found),
        config_problems=tuple(
            f"{problem.file}:{problem.line}: {problem.message}; {problem.remedy}" for problem in found.problems
        ),
        daemon=daemon,
        daemon_error=daemon_error,
        shortages=_shortages(run_dir) if daemon else (),
    )


def _probes(configured: Configuration) -> dict[str, list[str]]:
    wireguard = any(one.config.vpn and one.config.vpn.wireguard for one in configured.instances.values())
    steering = configured.settings is not None and configured.settings.packet_steering
    return PROBES | (WIREGUARD_PROBE if wireguard else {}) | (STEERING_PROBE if steering else {})


def _missing_for_tunnels(configured: Configuration) -> tuple[str, ...]:
    if not any(one.config.vpn and one.config.vpn.connections for one in configured.instances.values()):
        return ()
    needs = charon.NEEDS + charon.NEEDS_USER_SPACE
    return tuple(sorted({package for path, package in needs if not Path(path).exists()}))


def _daemon(run_dir: Path) -> tuple[str, str]:
    from supervisor.control import ControlError, request

    try:
        answer = request(run_dir, {"do": "ping"})
    except ControlError as exc:
        return "", str(exc)
    return f"{answer.get('version', '?')}, pid {answer.get('pid', '?')}", ""


def _shortages(run_dir: Path) -> tuple[tuple[str, str, str], ...]:
    from pubsub.topics import InstanceResources
    from supervisor.cli.errors import CliError
    from supervisor.cli.reading import read_now
    from supervisor.cli.resources import shortages

    try:
        [found] = read_now(run_dir, (InstanceResources, "supervisor", ""))
    except (CliError, BusError, TimeoutError):
        return ()  # who isn't on the bus is told of elsewhere
    return tuple(shortages(found.table))


def _probe(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PROBE_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return str(exc)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _which(name: str) -> str:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def _sysctl(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", *name.split(".")).read_text())
    except (OSError, ValueError):
        return None


def _running() -> set[str]:
    names = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.add(path.read_text().strip())
        except OSError:
            continue  # it ended meanwhile
    return names


def _is_shared(mountinfo: str, path: str) -> bool:
    """Tell from proc_pid_mountinfo(5) whether the mount that holds a path belongs to a peer group."""
    best, shared = "", True
    for line in mountinfo.splitlines():
        fields = line.split()
        point = fields[4]
        holds = path == point or path.startswith(point.rstrip("/") + "/")
        if holds and len(point) >= len(best):
            best, shared = point, any(field.startswith("shared:") for field in fields[6 : fields.index("-")])
    return shared
