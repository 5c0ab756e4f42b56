"""Makes findings of facts, each with its remedy. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import NamedTuple

from supervisor.cli.diagnosis.host import HostFacts
from supervisor.passage.obstacles import REMEDY

OLDEST_KERNEL = (5, 12)  # mount_setattr(2); nothing older is tried
MARKING_KERNEL = (5, 18)  # IFA_PROTO: addresses carry our mark
USUAL_FILES = 65536  # open files that a thousand instances need: a pidfd, a log and a connection at the hub each
CONNECTIONS_PER_INSTANCE = 4096  # tracked connections that an instance may want; each counts twice, inside and outside
NEIGHBOURS_PER_INSTANCE = 16  # entries: its apps, and its end of the link
NAMESPACES_SPARE = 64  # for others on the host
INOTIFY_NEEDED = 16  # instances of inotify that one uid needs: ours, one per service
GUARDED_PEERS = "guarded peers"  # a probe
NEARLY_FULL = 0.8  # of a table: time to tell


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"  # works; worth knowing
    WARNING = "warning"  # will hurt
    ERROR = "error"  # doesn't work


class Finding(NamedTuple):
    """One thing found."""

    level: Level
    check: str
    found: str
    remedy: str = ""


def judge(facts: HostFacts) -> tuple[Finding, ...]:
    """Return all findings, in the order in which things depend on each other."""
    return (
        *_kernel(facts),
        *_features(facts),
        *_software(facts),
        *_firewalls(facts),
        *_limits(facts),
        *_daemon(facts),
    )


def _kernel(facts: HostFacts) -> Iterator[Finding]:
    match = re.match(r"(\d+)\.(\d+)", facts.kernel)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        yield Finding(Level.ERROR, "kernel", facts.kernel, f"use Linux {oldest} or newer")
    elif version < MARKING_KERNEL:
        yield Finding(
            Level.NOTE, "kernel", f"{facts.kernel} keeps no mark on addresses", "Linux 5.18 or newer tells ours apart"
        )
    else:
        yield Finding(Level.OK, "kernel", facts.kernel)
    if facts.uid:
        yield Finding(Level.NOTE, "rights", "not root: the kernel's features were not tried", "run it as root")


def _features(facts: HostFacts) -> Iterator[Finding]:
    remedies = {
        "user namespaces": "sysctl -w user.max_user_namespaces=10000; in a container: allow unshare",
        "network namespaces": "sysctl -w user.max_net_namespaces=10000; in a container: it needs CAP_SYS_ADMIN",
        "veth links": "modprobe veth; install the kernel's extra modules; install iproute2",
        "bridges": "modprobe bridge; install the kernel's extra modules; install iproute2",
        "nft with NAT and maps": "modprobe nf_tables nft_nat nft_chain_nat; install nftables",
        "WireGuard": "modprobe wireguard; use Linux 5.6 or newer, with CONFIG_WIREGUARD",
        "packet steering": "use a kernel with CONFIG_RPS; in a container: mount /sys; or take `packet_steering` out",
        GUARDED_PEERS: "update the kernel: it was mended in April 2026",
    }
    for name, error in facts.probes.items():
        level = Level.WARNING if name == GUARDED_PEERS else Level.ERROR
        yield Finding(level, name, error, remedies[name]) if error else Finding(Level.OK, name, "works")
    if not facts.shared_netns:
        yield Finding(
            Level.WARNING,
            "mounts",
            "/run/netns lies on a private mount: others don't see the namespaces",
            "mount --make-shared /run; in a systemd unit: remove ProtectSystem=, PrivateTmp= and their like",
        )
    if facts.sysctls.get("kernel.apparmor_restrict_unprivileged_userns"):
        yield Finding(Level.NOTE, "AppArmor", "restricts user namespaces of the unprivileged", "none: ours are root's")


def _software(facts: HostFacts) -> Iterator[Finding]:
    if facts.python < (3, 11):
        yield Finding(Level.ERROR, "Python", ".".join(map(str, facts.python)), "use Python 3.11 or newer")
    for name, found in facts.libraries.items():
        if not found:
            yield Finding(Level.ERROR, name, "not found", "apt-get install libnftables1")
    needed = {"ip": "iproute2", "dnsmasq": "dnsmasq-base", "radvd": "radvd"}
    wanted = {"nft": ("nftables", "to look at the rules"), "conntrack": ("conntrack", "to look at connections")}
    wanted["tcpdump"] = ("tcpdump", "to look at packets")
    for name, package in needed.items():
        path = facts.binaries[name]
        if path:
            yield Finding(Level.OK, name, path)
        else:
            yield Finding(Level.ERROR, name, "not found", f"apt-get install {package}")
    if not facts.binaries["udhcpc"] and not facts.binaries["busybox"]:
        yield Finding(
            Level.WARNING, "DHCP client", "not found: `run` works only with fixed addresses", "apt-get install udhcpc"
        )
    if facts.missing_for_tunnels:
        packages = " ".join(facts.missing_for_tunnels)
        yield Finding(Level.ERROR, "strongSwan", "not whole: tunnels can't be set up", f"apt-get install {packages}")
    for name, (package, use) in wanted.items():
        if not facts.binaries[name]:
            yield Finding(Level.NOTE, name, f"not found; useful {use}", f"apt-get install {package}")


def _firewalls(facts: HostFacts) -> Iterator[Finding]:
    if facts.firewalls:
        names = ", ".join(facts.firewalls)
        yield Finding(Level.NOTE, "other firewalls", f"{names} runs here", "none: ours only looks at its own links")
    for words in facts.obstacles:
        found, _, remedy = words.partition(REMEDY)
        yield Finding(Level.WARNING, "forwarding", found, remedy)
    if not facts.obstacles:
        yield Finding(Level.OK, "forwarding", "no rules of others drop packets of instances")


def _limits(facts: HostFacts) -> Iterator[Finding]:
    sysctls, count = facts.sysctls, max(facts.instances, 1)
    connections = 2 * CONNECTIONS_PER_INSTANCE * count
    yield from _at_least(facts, "net.netfilter.nf_conntrack_max", connections, "is for all namespaces together")
    used, most = sysctls.get("net.netfilter.nf_conntrack_count"), sysctls.get("net.netfilter.nf_conntrack_max")
    if used is not None and most and used > NEARLY_FULL * most:
        remedy = f"sysctl -w net.netfilter.nf_conntrack_max={2 * most}"
        yield Finding(Level.WARNING, "connections", f"{used} of {most} are tracked: nearly full", remedy)
    for version, entries in facts.neighbours.items():
        most = sysctls.get(f"net.{version}.neigh.default.gc_thresh3", 0)
        if entries > NEARLY_FULL * most:
            remedy = f"sysctl -w net.{version}.neigh.default.gc_thresh3={2 * most}"
            yield Finding(
                Level.WARNING, "neighbours", f"{entries} of {most} of {version} are known: nearly full", remedy
            )
    neighbours = NEIGHBOURS_PER_INSTANCE * count
    for version in ("ipv4", "ipv6"):
        what = f"net.{version}.neigh.default.gc_thresh3"
        yield from _at_least(facts, what, neighbours, "is for all namespaces together")
    for kind in ("user", "net"):
        needed = facts.instances + NAMESPACES_SPARE
        yield from _at_least(facts, f"user.max_{kind}_namespaces", needed, "bounds the instances", Level.ERROR)
    yield from _at_least(facts, "fs.inotify.max_user_instances", INOTIFY_NEEDED, "is per uid, one for each dnsmasq")
    if facts.open_files < min(USUAL_FILES, 1024 + 8 * count):
        yield Finding(
            Level.WARNING,
            "open files",
            f"at most {facts.open_files}, for {facts.instances} instances",
            f"LimitNOFILE={USUAL_FILES} in the unit, or ulimit -Hn {USUAL_FILES}",
        )
    else:
        yield Finding(Level.OK, "open files", f"at most {facts.open_files}")


def _at_least(
    facts: HostFacts, name: str, needed: int, meaning: str, level: Level = Level.WARNING
) -> Iterator[Finding]:
    value = facts.sysctls.get(name)
    if value is None:
        return
    if value < needed:
        said = f"{value}; {meaning}: {facts.instances} instances want {needed}"
        yield Finding(level, name, said, f"sysctl -w {name}={needed}; to keep it: a file in /etc/sysctl.d")
    else:
        yield Finding(Level.OK, name, str(value))


def _daemon(facts: HostFacts) -> Iterator[Finding]:
    for problem in facts.config_problems:
        yield Finding(
            Level.WARNING, "configuration", problem, "mend the file; the other instances are served meanwhile"
        )
    if not facts.config_problems:
        yield Finding(Level.OK, "configuration", f"{facts.instances} instances, no problem")
    for name, said, remedy in facts.shortages:
        yield Finding(Level.WARNING, f"instance {name}", said, remedy)
    if facts.daemon:
        yield Finding(Level.OK, "nsvisord", facts.daemon)
    else:
        yield Finding(Level.NOTE, "nsvisord", facts.daemon_error, "systemctl start nsvisor")
