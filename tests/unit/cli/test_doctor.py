"""What doctor makes of facts: each thing that is wrong is found, with its remedy."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from supervisor.cli.diagnosis import Finding, HostFacts, Level, judge
from supervisor.cli.diagnosis.host import _is_shared

WELL = HostFacts(
    uid=0,
    kernel="6.18.1-amd64",
    python=(3, 11),
    probes={
        "user namespaces": "",
        "network namespaces": "",
        "veth links": "",
        "bridges": "",
        "nft with NAT and maps": "",
    },
    libraries={"libnftables.so.1": True},
    binaries={
        name: f"/usr/sbin/{name}"
        for name in ("ip", "dnsmasq", "radvd", "nft", "udhcpc", "busybox", "conntrack", "tcpdump")
    },
    sysctls={
        "fs.inotify.max_user_instances": 128,
        "net.ipv4.neigh.default.gc_thresh3": 16384,
        "net.ipv6.neigh.default.gc_thresh3": 16384,
        "net.netfilter.nf_conntrack_count": 10,
        "net.netfilter.nf_conntrack_max": 262144,
        "user.max_net_namespaces": 10000,
        "user.max_user_namespaces": 10000,
    },
    neighbours={},
    open_files=1048576,
    obstacles=(),
    firewalls=(),
    missing_for_tunnels=(),
    shared_netns=True,
    instances=4,
    config_problems=(),
    daemon="0.1.0, pid 5",
    daemon_error="",
)


def findings(**changed: Any) -> list[Finding]:
    """Return all that isn't well."""
    return [one for one in judge(msgspec.structs.replace(WELL, **changed)) if one.level is not Level.OK]


def test_a_good_host_has_no_findings() -> None:
    assert findings() == []


@pytest.mark.parametrize(
    ("changed", "check", "level"),
    [
        ({"kernel": "5.4.0"}, "kernel", Level.ERROR),
        ({"kernel": "5.15.0-91-generic"}, "kernel", Level.NOTE),
        ({"uid": 1000}, "rights", Level.NOTE),
        ({"python": (3, 9)}, "Python", Level.ERROR),
        ({"probes": {"veth links": "Unknown device type"}}, "veth links", Level.ERROR),
        ({"probes": {"user namespaces": "No space left on device"}}, "user namespaces", Level.ERROR),
        ({"probes": {"WireGuard": "Unknown device type"}}, "WireGuard", Level.ERROR),
        ({"probes": {"packet steering": "No such file or directory"}}, "packet steering", Level.ERROR),
        ({"probes": {"guarded peers": "any namespace"}}, "guarded peers", Level.WARNING),
        ({"libraries": {"libnftables.so.1": False}}, "libnftables.so.1", Level.ERROR),
        ({"binaries": {**WELL.binaries, "dnsmasq": ""}}, "dnsmasq", Level.ERROR),
        ({"binaries": {**WELL.binaries, "udhcpc": "", "busybox": ""}}, "DHCP client", Level.WARNING),
        ({"binaries": {**WELL.binaries, "tcpdump": ""}}, "tcpdump", Level.NOTE),
        ({"obstacles": ("policy drop in chain ip filter FORWARD; let them pass: x",)}, "forwarding", Level.WARNING),
        ({"neighbours": {"ipv4": 900, "ipv6": 16000}}, "neighbours", Level.WARNING),
        ({"missing_for_tunnels": ("charon-systemd",)}, "strongSwan", Level.ERROR),
        ({"firewalls": ("dockerd",)}, "other firewalls", Level.NOTE),
        ({"shared_netns": False}, "mounts", Level.WARNING),
        ({"instances": 256}, "net.netfilter.nf_conntrack_max", Level.WARNING),
        ({"instances": 20000}, "user.max_user_namespaces", Level.ERROR),
        ({"instances": 256, "open_files": 1024}, "open files", Level.WARNING),
        (
            {"sysctls": {**WELL.sysctls, "net.netfilter.nf_conntrack_count": 250000}},
            "connections",
            Level.WARNING,
        ),
        ({"config_problems": ("a.yaml:3: wrong",)}, "configuration", Level.WARNING),
        ({"daemon": "", "daemon_error": "no"}, "nsvisord", Level.NOTE),
    ],
)
def test_what_is_wrong_is_found_with_its_remedy(changed: dict[str, Any], check: str, level: Level) -> None:
    found = {finding.check: finding for finding in findings(**changed)}
    assert found[check].level is level
    assert found[check].remedy


def test_a_sysctl_that_this_kernel_lacks_is_no_finding() -> None:
    assert findings(sysctls={}) == []


def test_the_nearest_mount_decides_whether_namespaces_are_seen() -> None:
    root = "22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    run = "23 22 0:21 / /run rw - tmpfs tmpfs rw\n"
    pins = "24 23 0:21 /netns /run/netns rw shared:5 - tmpfs tmpfs rw\n"
    other = "25 22 0:22 / /run/net rw - tmpfs tmpfs rw\n"
    assert _is_shared(root, "/run/netns")
    assert not _is_shared(root + run, "/run/netns")
    assert _is_shared(root + run + pins + other, "/run/netns")
