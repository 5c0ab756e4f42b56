"""The mounts that a manager sees: a small read-only root that holds programs and none of the host's data.

A *root* is built once per pair of run and state folder and kept as a mount namespace; each birth copies that (about
ten mounts, however many the host has) and adds what is the instance's own.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final

from supervisor import syscalls
from supervisor.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC

PROGRAMS: Final = (
    "usr",
    "bin",
    "sbin",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "etc",
    "nix",
)  # below /; what is absent isn't shown
EMPTY: Final = ("proc", "sys", "dev", "run", "tmp", "var", "root", "home")
HIDDEN_IN_ETC: Final = "etc/nsvisor"  # configs of all instances
DEVICES: Final = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "net/tun": (10, 200),
}
STANDARD_FDS: Final = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
SMALL: Final = "mode=755,size=1m,nr_inodes=1k"  # a tmpfs that holds mount points only
TMP: Final = "/tmp"  # noqa: S108  # the manager's own
TMP_OPTIONS: Final = "mode=1777,size=16m,nr_inodes=1k"
PLAIN: Final = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
DATA: Final = PLAIN | syscalls.MOUNT_ATTR_NOEXEC
STAGE: Final = "/sys"  # any folder that exists, and from which nothing is taken into the root


def code_folders() -> tuple[str, ...]:
    """Return the folders that hold this code, its libraries and the interpreter, where they aren't below /usr."""
    folders = sorted({sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parent.parent)})
    outer: list[str] = []
    for folder in folders:
        if not any(folder == known or folder.startswith(known + "/") for known in ("/usr", *outer)):
            outer.append(folder)
    return tuple(outer)


def build_root(run_dir: str, state_dir: str) -> None:
    """Make the caller's mount namespace a root for managers. The caller is a throwaway child of the spawner."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", flags=MS_REC | MS_PRIVATE)
    os.umask(0o022)
    syscalls.mount("tmpfs", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, SMALL)
    os.chdir(STAGE)
    for name in EMPTY:
        Path(name).mkdir()
    Path("var/run").symlink_to("/run")
    for name in PROGRAMS:
        _show("/" + name)
    for folder in code_folders():
        _show(folder)
    if Path(HIDDEN_IN_ETC).is_dir():
        _cover(HIDDEN_IN_ETC)
    _make_devices("dev")
    for folder in (run_dir, state_dir):
        Path("." + folder).mkdir(parents=True, exist_ok=True)
    syscalls.pivot_root(".", ".")
    syscalls.umount(".", syscalls.MNT_DETACH)
    os.chdir("/")
    syscalls.mount("none", "/", flags=syscalls.MS_REMOUNT | syscalls.MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def enter_manager(root: int, name: str, run_dir: str, state_dir: str) -> None:
    """Give the caller its own mounts: a copy of the root, with the instance's folders and nobody else's.

    The caller is in the instance's network namespace already (so that /sys shows that), and still the host's root
    (so that the mounts belong to the host, and the manager can't change them).
    """
    folders = {
        f"{run_dir}/bus": _copy_of(f"{run_dir}/bus"),
        f"{run_dir}/instances/{name}": _copy_of(f"{run_dir}/instances/{name}"),
        f"{state_dir}/instances/{name}": _copy_of(f"{state_dir}/instances/{name}"),
    }
    syscalls.setns(root, syscalls.CLONE_NEWNS)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    os.umask(0o022)
    syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2")
    syscalls.mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    syscalls.mount("tmpfs", TMP, "tmpfs", MS_NOSUID | MS_NODEV, TMP_OPTIONS)
    for folder in sorted({run_dir, state_dir}):
        Path(folder).mkdir(parents=True, exist_ok=True)
        syscalls.mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, SMALL)
    for path, copy in folders.items():
        Path(path).mkdir(parents=True, exist_ok=True)
        syscalls.attach(copy, path)
        os.close(copy)
    for folder in ("/sys", run_dir, state_dir):
        flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | MS_RDONLY
        syscalls.mount("none", folder, flags=flags | MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _copy_of(folder: str) -> int:
    copy = syscalls.clone_tree(folder)
    syscalls.set_attributes(copy, DATA)
    return copy


def _show(path: str) -> None:
    """Show a path of the host, read-only, at the same place below the current folder."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    place = "." + path
    if stat.S_ISLNK(mode):
        Path(place).symlink_to(Path(path).readlink())
        return
    Path(place).mkdir(parents=True, exist_ok=True)
    copy = syscalls.clone_tree(path, recursive=True)
    syscalls.set_attributes(copy, PLAIN | syscalls.MOUNT_ATTR_RDONLY, recursive=True)
    syscalls.attach(copy, place)
    os.close(copy)


def _cover(path: str) -> None:
    """Put an empty folder over a path that must not be seen."""
    syscalls.mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, SMALL)


def _make_devices(folder: str) -> None:
    syscalls.mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NOEXEC, SMALL)
    Path(folder, "net").mkdir()
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"{folder}/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
        Path(folder, name).chmod(0o666)  # the umask took bits
    for name, target in STANDARD_FDS.items():
        Path(folder, name).symlink_to(target)
    flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | MS_RDONLY
    syscalls.mount("none", folder, flags=flags | MS_NOSUID | MS_NOEXEC)
