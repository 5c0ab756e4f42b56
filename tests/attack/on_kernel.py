"""Attacks on mounts, devices and the kernel's settings."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from supervisor import syscalls
from tests.attack.registry import (
    HIDDEN,
    MACHINE,
    REFUSED,
    SYS_FINIT_MODULE,
    Target,
    attack,
    check,
    libc,
)


@attack(*REFUSED)
def mount_a_file_system(_target: Target) -> None:
    syscalls.mount("tmpfs", "/tmp", "tmpfs")


@attack(*REFUSED)
def mount_by_descriptor(_target: Target) -> None:
    os.close(syscalls.clone_tree("/etc", recursive=True))


@attack(*REFUSED)
def make_the_root_writable(_target: Target) -> None:
    syscalls.mount("none", "/proc", flags=syscalls.MS_REMOUNT | syscalls.MS_BIND)


@attack(*REFUSED)
def unmount(_target: Target) -> None:
    syscalls.umount("/proc", syscalls.MNT_DETACH)


@attack(*REFUSED)
def change_the_root(_target: Target) -> None:
    os.chroot("/tmp")


@attack(*REFUSED)
def make_a_device(target: Target) -> None:
    path = f"{target.run_dir}/instances/red/disk"
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(254, 0))
    Path(path).unlink()


@attack(*REFUSED, errno.ENOSYS)
def load_a_module(_target: Target) -> None:
    with open("/bin/true", "rb") as file:
        try:
            check(libc.syscall(SYS_FINIT_MODULE, file.fileno(), b"", 0))
        except OSError as exc:
            if exc.errno in (*REFUSED, errno.ENOSYS):
                raise  # else it was allowed, and the file is no module


def sysctl_attack(key: str, *errors: int) -> None:
    def run(_target: Target) -> None:
        path = Path("/proc/sys", *key.split("."))
        path.write_text(path.read_text())

    run.__name__ = f"write_{key.replace('.', '_')}"
    attack(*errors)(run)


sysctl_attack("kernel.core_pattern", *REFUSED)
sysctl_attack("vm.swappiness", *REFUSED)
sysctl_attack("fs.suid_dumpable", *REFUSED)
sysctl_attack("kernel.hostname", *REFUSED)


def limit_attack(kind: str) -> None:
    def run(_target: Target) -> None:
        Path(f"/proc/sys/user/max_{kind}_namespaces").write_text("100")

    run.__name__ = f"raise_max_{kind}_namespaces"
    attack(*REFUSED, possible=False)(run)  # the host's limit is not to be touched by a test


for _kind in ("user", "net", "mnt"):
    limit_attack(_kind)


@attack(*REFUSED)
def reboot(_target: Target) -> None:
    try:
        check(libc.syscall(169 if MACHINE else 142, 0, 0, 0, 0))  # the magic numbers are wrong on purpose
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # which means: allowed, but wrong
            raise


@attack(*HIDDEN)
def open_a_disk_or_memory(_target: Target) -> None:
    os.close(os.open("/dev/kmsg", os.O_RDONLY))


@attack(*REFUSED)
def gain_a_capability(_target: Target) -> None:
    syscalls.capset((1 << 21) | (1 << 12))  # SYS_ADMIN


@attack(errno.EINVAL)
def become_a_user_of_the_other_instance(_target: Target) -> None:
    os.setresuid(0x7001_0000, 0x7001_0000, 0x7001_0000)


@attack(*HIDDEN, *REFUSED)
def leave_its_cgroup(_target: Target) -> None:
    path = next(Path("/sys/fs/cgroup").rglob("cgroup.procs"), Path("/sys/fs/cgroup/cgroup.procs"))
    path.open("a").close()
