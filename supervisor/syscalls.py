"""The system calls that CPython 3.11 lacks: namespaces, mounts by descriptor, capabilities.

All are thin: arguments as in section 2 of the manual, an OSError with what was tried when the kernel refuses. The
argument types are prepared once, at import, so that a forked child only calls.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MS_SLAVE: Final = 0x80000
MS_SHARED: Final = 0x100000
MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8

PR_SET_DUMPABLE: Final = 4
PR_SET_KEEPCAPS: Final = 8
PR_SET_NAME: Final = 15
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38

NS_GET_USERNS: Final = 0xB701
NS_GET_NSTYPE: Final = 0xB703
NS_GET_OWNER_UID: Final = 0xB704

# the same on every architecture since Linux 5.1 unified the numbers
_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_SYS_CLOSE_RANGE: Final = 436
_SYS_MOUNT_SETATTR: Final = 442  # Linux 5.12
_SYS_KEYCTL: Final = {"x86_64": 250, "armv7l": 311, "ppc64le": 271, "s390x": 280, "i686": 288}
_SYS_KEYCTL_GENERIC: Final = 219  # aarch64, riscv64, loongarch64: asm-generic/unistd.h
_KEYCTL_JOIN_SESSION_KEYRING: Final = 1
_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.pivot_root.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int,) + (ctypes.c_ulong,) * 4
_libc.capset.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
_libc.syscall.restype = ctypes.c_long
_long = ctypes.c_long


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((field, ctypes.c_uint64) for field in ("attr_set", "attr_clr", "propagation", "userns_fd"))


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own."""
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def setns(fd: int, flags: int) -> None:
    """Move the calling thread into the namespace that the descriptor is of."""
    _check(_libc.setns(fd, flags), f"setns {flags:#x}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Attach a filesystem; the arguments are those of the system call."""
    text = data.encode() if data else None
    result = _libc.mount(source.encode(), os.fsencode(target), kind.encode() if kind else None, flags, text)
    _check(result, f"mount {kind or source} on {target}")


def umount(target: str, flags: int = 0) -> None:
    """Unmount, as umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Change the root mount of the calling thread's mount namespace."""
    _check(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), f"pivot_root {new}")


def clone_tree(path: str, *, recursive: bool = False, folder: int = _AT_FDCWD) -> int:
    """Return a descriptor of a detached copy of the mount at `path` (open_tree(2)); the last link isn't followed.

    The copy vanishes with the descriptor, unless `attach` puts it somewhere.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_SYMLINK_NOFOLLOW | (_AT_RECURSIVE if recursive else 0)
    if not path:
        flags |= _AT_EMPTY_PATH
    result = _libc.syscall(_long(_SYS_OPEN_TREE), _long(folder), os.fsencode(path), _long(flags))
    return _check(result, f"open_tree {path}")


def set_attributes(fd: int, attributes: int, *, recursive: bool = False) -> None:
    """Set attributes of a mount given by descriptor, and make it private (mount_setattr(2))."""
    request = _MountAttributes(attributes, 0, MS_PRIVATE, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    size = _long(ctypes.sizeof(request))
    result = _libc.syscall(_long(_SYS_MOUNT_SETATTR), _long(fd), b"", _long(flags), ctypes.byref(request), size)
    _check(result, "mount_setattr")


def attach(fd: int, target: str) -> None:
    """Attach a detached mount at `target`; if that is a symbolic link, over the link itself (move_mount(2))."""
    arguments = (_long(fd), b"", _long(_AT_FDCWD), os.fsencode(target), _long(_MOVE_MOUNT_F_EMPTY_PATH))
    _check(_libc.syscall(_long(_SYS_MOVE_MOUNT), *arguments), f"move_mount to {target}")


def close_from(first: int) -> None:
    """Close every descriptor from `first` on."""
    _check(_libc.syscall(_long(_SYS_CLOSE_RANGE), _long(first), _long(0xFFFFFFFF), _long(0)), "close_range")


def prctl(option: int, value: int = 0) -> int:
    """Change one property of the process that a number says; the operations are in the manual."""
    return _check(_libc.prctl(option, value, 0, 0, 0), f"prctl {option}")


def set_name(name: str) -> None:
    """Name the calling thread, as ps and top show it (15 bytes)."""
    text = ctypes.create_string_buffer(name.encode()[:15])
    _check(_libc.prctl(PR_SET_NAME, ctypes.addressof(text), 0, 0, 0), "prctl PR_SET_NAME")


def capset(permitted: int) -> None:
    """Make `permitted` (a mask) the permitted and effective capabilities; nothing is inheritable."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")


def owning_user_namespace(fd: int) -> int:
    """Return a descriptor of the user namespace that owns the namespace `fd` (ioctl_ns(2))."""
    return fcntl.ioctl(fd, NS_GET_USERNS)


def owner_uid(fd: int) -> int:
    """Return the uid that made a user namespace (ioctl_ns(2))."""
    (uid,) = struct.unpack("I", fcntl.ioctl(fd, NS_GET_OWNER_UID, bytes(4)))
    return int(uid)


def is_network_namespace(fd: int) -> bool:
    """Return whether the descriptor is of a network namespace."""
    try:
        return fcntl.ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET
    except OSError:  # ENOTTY: an ordinary file
        return False


def leave_keyring() -> None:
    """Give the calling process a session keyring of its own: what is in the inherited one, it could read.

    No error where the kernel has no keyrings, or a filter forbids the call (then there is nothing to read either).
    """
    number = _SYS_KEYCTL.get(os.uname().machine, _SYS_KEYCTL_GENERIC)
    _libc.syscall(_long(number), _long(_KEYCTL_JOIN_SESSION_KEYRING), None)


def arguments_area() -> tuple[int, int]:
    """Return where the kernel looks for the arguments of this process: address and length (proc_pid_stat(5))."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    return start, end - start


def set_title(area: tuple[int, int], title: str) -> None:
    """Overwrite the arguments of this process, as ps shows them, with `title`; a longer one is cut."""
    start, length = area
    ctypes.memmove(start, title.encode()[: length - 1].ljust(length, b"\0"), length)
