"""What a newborn may do: capability sets (capabilities(7)) and the change of user."""

from __future__ import annotations

import enum
import os
import resource
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from supervisor import syscalls

LAST_CAP_FILE: Final = "/proc/sys/kernel/cap_last_cap"
NAMESPACE_LIMITS: Final = ("max_user_namespaces", "max_net_namespaces", "max_mnt_namespaces")  # below /proc/sys/user


class Capability(enum.IntEnum):
    """The capabilities that we name (linux/capability.h)."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    FOWNER = 3
    FSETID = 4
    KILL = 5
    SETGID = 6
    SETUID = 7
    SETPCAP = 8
    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    NET_RAW = 13
    SYS_CHROOT = 18
    SYS_ADMIN = 21
    AUDIT_WRITE = 29
    SETFCAP = 31


# KILL: without it a manager can't stop a service that changed its uid
MANAGER: Final = frozenset(
    {
        Capability.NET_ADMIN,
        Capability.NET_RAW,
        Capability.NET_BIND_SERVICE,
        Capability.SETUID,
        Capability.SETGID,
        Capability.KILL,
    }
)

# docker's default set, without MKNOD: an app has no business with devices
APP: Final = frozenset(
    {
        Capability.CHOWN,
        Capability.DAC_OVERRIDE,
        Capability.FOWNER,
        Capability.FSETID,
        Capability.KILL,
        Capability.SETGID,
        Capability.SETUID,
        Capability.SETPCAP,
        Capability.NET_BIND_SERVICE,
        Capability.NET_RAW,
        Capability.SYS_CHROOT,
        Capability.AUDIT_WRITE,
        Capability.SETFCAP,
    }
)

# Against what a manager could do to the machine as a whole. Each uid of an instance counts for itself.
LIMITS: Final = {
    resource.RLIMIT_NPROC: 512,  # threads; a charon has about 20
    resource.RLIMIT_FSIZE: 64 * 2**20,  # bytes of one file: of the log, before nsvisord cuts it the next time
    resource.RLIMIT_CORE: 1,  # no core dump, not even to a program of the host that runs as root (kernel/coredump.c)
}

DHCP_CLIENT: Final = frozenset({Capability.NET_ADMIN, Capability.NET_RAW, Capability.NET_BIND_SERVICE})


def last_capability() -> int:
    """Return the number of the running kernel's last capability."""
    return int(Path(LAST_CAP_FILE).read_text())


def limit(capabilities: frozenset[Capability], last: int) -> None:
    """Take all other capabilities from the calling process and its descendants, for good."""
    for number in range(last + 1):
        if number not in capabilities:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def keep(capabilities: frozenset[Capability]) -> None:
    """Give up all other capabilities that the calling process has at hand."""
    syscalls.capset(sum(1 << number for number in capabilities))


def become(uid: int, gid: int, groups: tuple[int, ...] = ()) -> None:
    """Change to a user. As from root to another, all capabilities at hand are lost."""
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def set_limits(limits: Iterable[tuple[int, int]]) -> None:
    """Set the resource limits of a manager and all its processes, for good: these and those of all managers."""
    for kind, value in {**LIMITS, **dict(limits)}.items():
        set_limit(kind, value)


def set_limit(kind: int, value: int) -> None:
    """Set a resource limit, soft and hard; as far as the hard one that is there allows."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def forbid_namespaces() -> None:
    """Forbid that anything in the current user namespace ever makes user, network or mount namespaces.

    Needs CAP_SYS_RESOURCE in it; without that the files can't be written again. `/proc/sys/user` shows the limits of
    the reader's own user namespace (namespaces(7)).
    """
    for name in NAMESPACE_LIMITS:
        path = Path("/proc/sys/user", name)
        if path.read_text().strip() != "0":
            path.write_text("0")
