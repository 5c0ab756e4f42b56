"""How a namespace comes to be and to an end, and how a manager is born into it.

There is one way in, for a new namespace as for one that was found: by the pin alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import stat
from pathlib import Path
from typing import Final, NoReturn

from supervisor import mounts, rights, syscalls
from supervisor.folders import opened, owned
from supervisor.orders import NewManager
from supervisor.rights import Capability

NETNS_DIR: Final = "/run/netns"  # iproute2's, so that `ip netns` sees ours and we see its
UNSHARE_TIMEOUT: Final = 10.0  # seconds; copy_net_ns() waits while the kernel clears up deleted namespaces


class BirthError(RuntimeError):
    """A namespace is not what it should be; the text says how."""


def make_namespace(name: str, uid_base: int, uid_count: int) -> int:
    """Make a network namespace owned by a user namespace of its own, and pin it. Returns its inode.

    Raises FileExistsError when there is a pin of that name already. Leaves nothing behind on failure.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()  # so that its end is seen
        _hold_new_namespace(uid_base, theirs)
    theirs.close()  # so that the child's death ends the wait
    try:
        ready, _, _ = select.select([ours], [], [], UNSHARE_TIMEOUT)
        error = ours.recv(4) if ready else b""
        if len(error) != 4 or error != bytes(4):
            number = int.from_bytes(error, "little") or errno.ETIMEDOUT
            raise OSError(number, f"namespace {name}: unshare: {os.strerror(number)}")
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{kind}").write_text(f"0 {uid_base} {uid_count}\n")
        return pin(name, f"/proc/{pid}/ns/net")
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def delete_namespace(name: str) -> None:
    """Remove the pin. The namespace ends, some time later, when no process is left in it; no pin is no error."""
    path = f"{NETNS_DIR}/{name}"
    try:
        syscalls.umount(path, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOENT):  # EINVAL: nothing mounted, a file left after a crash
            raise
    Path(path).unlink(missing_ok=True)


def clear_pin(name: str) -> None:
    """Remove the empty file that an unmounted pin leaves; what else is there stays."""
    path = Path(NETNS_DIR, name)
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and not found.st_size and namespace_inode(name) is None:
            path.unlink()


def namespace_inode(name: str) -> int | None:
    """Return the inode of the pinned namespace; None: no pin, or one that holds nothing."""
    try:
        fd = os.open(f"{NETNS_DIR}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(fd).st_ino if syscalls.is_network_namespace(fd) else None
    finally:
        os.close(fd)


def make_folders(order: NewManager) -> None:
    """Make the instance's folders and hand them to its manager, where that isn't done."""
    for parent in (order.run_dir, order.state_dir):
        Path(parent, "instances").mkdir(mode=0o755, parents=True, exist_ok=True)
        with opened(f"{parent}/instances") as instances, owned(order.name, order.uid_base, instances):
            pass
    Path(order.run_dir, "bus").mkdir(mode=0o755, exist_ok=True)  # the hub gives it to itself


def enter_as_manager(order: NewManager, root: int, last_capability: int) -> None:
    """Turn the caller, a newborn of the host's root, into the namespace's uid 0, for good.

    `root` is the mount namespace with the managers' root. The caller must be single-threaded. While it still holds
    descriptors of ours, nothing of its instance can take them: the kernel made it undumpable (prctl(2)).
    """
    if order.group:
        enter_group(order.group)
    net = open_pin(order.name)
    user = syscalls.owning_user_namespace(net)
    make_folders(order)
    syscalls.setns(net, syscalls.CLONE_NEWNET)
    mounts.enter_manager(root, order.name, order.run_dir, order.state_dir)
    try:
        syscalls.setns(user, syscalls.CLONE_NEWUSER)
    except OSError as exc:
        raise BirthError(f"namespace {order.name}: not owned by a user namespace of its own ({exc.strerror})") from exc
    mapping = Path("/proc/self/uid_map").read_text().split()
    if mapping[:2] != ["0", str(order.uid_base)] or len(mapping) != 3:
        raise BirthError(f"namespace {order.name}: its uids are mapped to {mapping[1:2]}, not {order.uid_base}")
    rights.set_limits(order.rlimits)
    rights.become(0, 0)
    rights.forbid_namespaces()
    rights.limit(rights.MANAGER, last_capability)
    rights.keep(rights.MANAGER)


def enter_group(group: str) -> None:
    """Have the caller, and what it starts, counted and limited in a control group. Raises OSError."""
    Path(group, "cgroup.procs").write_text("0")


def open_pin(name: str) -> int:
    """Return a descriptor of the pinned namespace. Raises FileNotFoundError or BirthError."""
    fd = os.open(f"{NETNS_DIR}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not syscalls.is_network_namespace(fd):
        os.close(fd)
        raise BirthError(f"namespace {name}: {NETNS_DIR}/{name} holds no namespace")
    return fd


def _hold_new_namespace(uid_base: int, spawner: socket.socket) -> NoReturn:
    """In the throwaway child: make the namespaces, tell, and wait until the spawner has taken them or died."""
    number = 0
    try:
        _unshare_as(uid_base)
        _forbid_ipv6()
    except OSError as exc:
        number = exc.errno or errno.EPERM
    except BaseException:  # noqa: BLE001  # nothing of the spawner's stack may run in this child
        number = errno.EPERM
    try:
        spawner.send(number.to_bytes(4, "little"))
        spawner.recv(1)
    finally:
        os._exit(1)


def _unshare_as(uid_base: int) -> None:
    """Unshare as the instance's own uid: the kernel charges inotify and other limits to who makes a user namespace.

    Where an unprivileged user may not (AppArmor on Ubuntu 24.04), as root: the limits are then shared by all.
    """
    kept = frozenset({Capability.SYS_ADMIN, Capability.SETUID, Capability.SETGID})
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid_base, uid_base, uid_base)
    os.setresuid(uid_base, uid_base, uid_base)
    rights.keep(kept)
    flags = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET
    try:
        syscalls.unshare(flags)
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.EACCES):
            raise
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        syscalls.unshare(flags)


def _forbid_ipv6() -> None:
    """Have links born without IPv6, so that none has an address before its manager is there."""
    for which in ("all", "default"):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")


def pin(name: str, source: str) -> int:
    """Bind a namespace to its name the way ip-netns(8) does. Returns its inode."""
    path = f"{NETNS_DIR}/{name}"
    Path(NETNS_DIR).mkdir(mode=0o755, parents=True, exist_ok=True)
    with opened(NETNS_DIR) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)  # iproute2 holds the same lock while it makes the mount shared
        _share()
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0))
    try:
        syscalls.mount(source, path, flags=syscalls.MS_BIND)
        return Path(path).stat().st_ino
    except OSError:
        delete_namespace(name)
        raise


def _share() -> None:
    """Make the folder of pins a mount that other mount namespaces get the news of."""
    try:
        syscalls.mount("", NETNS_DIR, flags=syscalls.MS_SHARED | syscalls.MS_REC)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # EINVAL: no mount point yet
            raise
        syscalls.mount(NETNS_DIR, NETNS_DIR, flags=syscalls.MS_BIND | syscalls.MS_REC)
        syscalls.mount("", NETNS_DIR, flags=syscalls.MS_SHARED | syscalls.MS_REC)
