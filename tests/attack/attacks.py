"""What a manager that was taken over would try. Each attack returns when it worked, and raises OSError when refused.

Attacks run with the rights of a manager, and (to show that they can work) with those of the host.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from supervisor import syscalls
from tests.attack import netlink

REFUSED = (errno.EPERM, errno.EACCES)
HIDDEN = (errno.ENOENT,)  # it isn't even seen
MACHINE = os.uname().machine == "x86_64"
SYS_FINIT_MODULE = 313 if MACHINE else 273
SYS_ADD_KEY, SYS_KEYCTL = (248, 250) if MACHINE else (217, 219)
KEYCTL_SEARCH, SESSION_KEYRING = 10, -3
NS_GET_PARENT = 0xB702
PTRACE_SEIZE = 0x4206
HANDLE_BYTES = 128
libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Target:
    """Whom to attack."""

    victim: int  # pid of a process of the host
    supervisor: int  # pid of the manager's parent
    other: int  # pid of the other instance's manager
    run_dir: str
    state_dir: str
    leaked: int = 1  # descriptor of a namespace of the host, as if a bug had let it through


@dataclass(frozen=True)
class Attack:
    """One attack, and how the kernel must refuse it."""

    run: Callable[[Target], None]
    errors: tuple[int, ...]  # one of them
    possible: bool  # with the host's rights
    leak: str  # what `leaked` is: a kind and whose, as "net host"; empty: the log
    inside: bool  # with the host's rights it is tried inside the instance's network namespace


ATTACKS: dict[str, Attack] = {}


def attack(
    *errors: int, possible: bool = True, leak: str = "", inside: bool = False
) -> Callable[[Callable[[Target], None]], Callable[[Target], None]]:
    """Register an attack under its function's name."""

    def register(function: Callable[[Target], None]) -> Callable[[Target], None]:
        ATTACKS[function.__name__] = Attack(function, errors, possible, leak, inside)
        return function

    return register


def check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def ip(*arguments: object, keep: int | None = None) -> str:
    """Run ip(8). Raises OSError with the errno that its message names."""
    fds = () if keep is None else (keep,)
    done = subprocess.run(["ip", *map(str, arguments)], capture_output=True, text=True, check=False, pass_fds=fds)
    if done.returncode:
        words = done.stderr.strip()
        numbers = [number for number in errno.errorcode if re.search(re.escape(os.strerror(number)), words)]
        raise OSError(numbers[0] if numbers else errno.EIO, words)
    return done.stdout


# --- namespaces ----------------------------------------------------------------------------------------------------


@attack(*HIDDEN)
def setns_to_the_host_by_pid(target: Target) -> None:
    with open(f"/proc/{target.victim}/ns/net") as namespace:
        syscalls.setns(namespace.fileno(), syscalls.CLONE_NEWNET)


@attack(*HIDDEN)
def setns_to_the_host_by_pidfd(target: Target) -> None:
    pidfd = os.pidfd_open(target.victim)  # may be opened: it gives no right by itself
    try:
        syscalls.setns(pidfd, syscalls.CLONE_NEWNET)
    except PermissionError as exc:
        raise FileNotFoundError(errno.ENOENT, "refused") from exc


@attack(*HIDDEN)
def setns_to_the_other_instance_by_pin(_target: Target) -> None:
    with open("/run/netns/blue") as namespace:
        syscalls.setns(namespace.fileno(), syscalls.CLONE_NEWNET)


@attack(*REFUSED, leak="net host")
def setns_to_the_host_by_a_leaked_descriptor(target: Target) -> None:
    syscalls.setns(target.leaked, syscalls.CLONE_NEWNET)


@attack(*REFUSED, leak="net blue")
def setns_to_the_other_instance_by_a_leaked_descriptor(target: Target) -> None:
    syscalls.setns(target.leaked, syscalls.CLONE_NEWNET)


@attack(*REFUSED, leak="user blue")
def setns_to_the_other_user_namespace_by_a_leaked_descriptor(target: Target) -> None:
    syscalls.setns(target.leaked, syscalls.CLONE_NEWUSER)


@attack(*REFUSED, leak="mnt host")
def setns_to_the_hosts_mounts_by_a_leaked_descriptor(target: Target) -> None:
    syscalls.unshare(0x200)  # CLONE_FS: setns to a mount namespace asks for it
    syscalls.setns(target.leaked, syscalls.CLONE_NEWNS)


@attack(*REFUSED, possible=False)
def climb_to_the_parent_user_namespace(_target: Target) -> None:
    with open("/proc/self/ns/user") as namespace:
        fcntl.ioctl(namespace.fileno(), NS_GET_PARENT)


@attack(*REFUSED)
def climb_by_the_owner_of_the_mounts(_target: Target) -> None:
    with open("/proc/self/ns/mnt") as namespace:
        fcntl.ioctl(namespace.fileno(), syscalls.NS_GET_USERNS)


def unshare_attack(name: str, flags: int, *errors: int) -> None:
    def run(_target: Target) -> None:
        syscalls.unshare(flags)

    run.__name__ = f"unshare_{name}"
    attack(*errors)(run)


unshare_attack("user", syscalls.CLONE_NEWUSER, errno.ENOSPC)
unshare_attack("user_and_net", syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET, errno.ENOSPC)
unshare_attack("user_and_mounts", syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS, errno.ENOSPC)
unshare_attack("net", syscalls.CLONE_NEWNET, *REFUSED)
unshare_attack("mounts", syscalls.CLONE_NEWNS, *REFUSED)
unshare_attack("pid", syscalls.CLONE_NEWPID, *REFUSED)
unshare_attack("uts", syscalls.CLONE_NEWUTS, *REFUSED)
unshare_attack("ipc", 0x08000000, *REFUSED)
unshare_attack("cgroup", 0x02000000, *REFUSED)


# --- links ---------------------------------------------------------------------------------------------------------


@attack(*REFUSED, inside=True)
def veth_into_the_host_by_pid(target: Target) -> None:
    ip("link", "add", "atk0", "type", "veth", "peer", "name", "atk1", "netns", target.victim)


@attack(*REFUSED, leak="net host", inside=True)
def veth_into_the_host_by_fd(target: Target) -> None:
    leaked = os.dup(target.leaked)
    ip("link", "add", "atk0", "type", "veth", "peer", "name", "atk1", "netns", f"/proc/self/fd/{leaked}", keep=leaked)


@attack(*REFUSED, leak="net blue", inside=True)
def veth_into_the_other_instance_by_fd(target: Target) -> None:
    leaked = os.dup(target.leaked)
    ip("link", "add", "atk0", "type", "veth", "peer", "name", "atk1", "netns", f"/proc/self/fd/{leaked}", keep=leaked)


@attack(*REFUSED, inside=True)
def move_a_link_into_the_host_by_pid(target: Target) -> None:
    ip("link", "add", "atk0", "type", "veth", "peer", "name", "atk1")
    ip("link", "set", "atk0", "netns", target.victim)


@attack(*REFUSED, leak="net host", inside=True)
def move_a_link_into_the_host_by_fd(target: Target) -> None:
    leaked = os.dup(target.leaked)
    ip("link", "add", "atk0", "type", "veth", "peer", "name", "atk1")
    ip("link", "set", "atk0", "netns", f"/proc/self/fd/{leaked}", keep=leaked)


def nsid_of_the_host() -> int:
    """Return by which number our namespace knows the host's: that of the other end of the link."""
    return int(json.loads(ip("-j", "link", "show", "up0"))[0]["link_netnsid"])


@attack(*REFUSED, inside=True)
def make_a_link_in_the_host_by_target_netnsid(_target: Target) -> None:
    netlink.new_link("atk0", "bridge", netlink.number(netlink.IFLA_TARGET_NETNSID, nsid_of_the_host()))


@attack(*REFUSED, inside=True)
def read_the_hosts_links_by_target_netnsid(_target: Target) -> None:
    netlink.get_link(1, netlink.number(netlink.IFLA_TARGET_NETNSID, nsid_of_the_host()))


@attack(*REFUSED, inside=True)
def macvlan_on_the_hosts_link_by_link_netnsid(_target: Target) -> None:
    peer = int(json.loads(ip("-j", "link", "show", "up0"))[0]["link_index"])
    netnsid = netlink.number(netlink.IFLA_LINK_NETNSID, nsid_of_the_host())
    netlink.new_link("atk0", "macvlan", netlink.number(netlink.IFLA_LINK, peer) + netnsid)


# --- processes -----------------------------------------------------------------------------------------------------


@attack(*REFUSED)
def kill_a_process_of_the_host(target: Target) -> None:
    os.kill(target.victim, signal.SIGKILL)


@attack(*REFUSED)
def kill_by_pidfd(target: Target) -> None:
    signal.pidfd_send_signal(os.pidfd_open(target.victim), signal.SIGKILL)


@attack(*REFUSED)
def signal_the_supervisor(target: Target) -> None:
    os.kill(target.supervisor, signal.SIGWINCH)


@attack(*REFUSED)
def signal_the_other_manager(target: Target) -> None:
    os.kill(target.other, signal.SIGWINCH)


@attack(errno.EPERM, possible=False)
def kill_everything(_target: Target) -> None:
    """The kernel reports success when there was anything that could have been tried: whether all live is checked."""
    os.kill(-1, signal.SIGKILL)
    raise PermissionError(errno.EPERM, "nobody else may have been hit")


@attack(*REFUSED)
def slow_down_the_supervisor(target: Target) -> None:
    os.setpriority(os.PRIO_PROCESS, target.supervisor, os.getpriority(os.PRIO_PROCESS, target.supervisor))


@attack(*REFUSED)
def raise_its_own_priority(_target: Target) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, -20)


def trace(pid: int) -> None:
    check(libc.ptrace(PTRACE_SEIZE, pid, None, None))


@attack(*REFUSED)
def ptrace_a_process_of_the_host(target: Target) -> None:
    trace(target.victim)


@attack(*REFUSED)
def ptrace_the_other_manager(target: Target) -> None:
    trace(target.other)


@attack(*REFUSED)
def take_a_descriptor_of_the_supervisor(target: Target) -> None:
    number = 438  # pidfd_getfd
    check(libc.syscall(number, os.pidfd_open(target.supervisor), 0, 0))


@attack(*HIDDEN)
def read_the_supervisors_memory(target: Target) -> None:
    Path(f"/proc/{target.supervisor}/maps").read_text()


@attack(*HIDDEN)
def read_the_other_managers_environment(target: Target) -> None:
    Path(f"/proc/{target.other}/environ").read_bytes()


# --- files ---------------------------------------------------------------------------------------------------------

SECRETS = {  # what the test puts there before: what is whose
    "a_file_of_the_other_instance": "{run}/instances/blue/dnsmasq.conf",
    "a_lease_of_the_other_instance": "{state}/instances/blue/dnsmasq/leases",
    "the_ledger": "{state}/ledger.json",
    "the_supervisors_records": "{run}/state/blue.json",
    "the_log_of_the_other_instance": "{run}/logs/blue.log",
    "the_tables_of_the_bus": "{run}/bus/tables/secret",
    "the_configuration": "/etc/nsvisor/all.yaml",
    "the_hosts_run_folder": "/run/secret",
}


def read_attack(name: str, path: str) -> None:
    def run(target: Target) -> None:
        Path(path.format(run=target.run_dir, state=target.state_dir)).read_text()

    run.__name__ = f"read_{name}"
    attack(*HIDDEN, *REFUSED)(run)


for _name, _path in SECRETS.items():
    read_attack(_name, _path)


@attack(*REFUSED)
def read_the_shadow_file(_target: Target) -> None:
    Path("/etc/shadow").read_text()


@attack(*HIDDEN)
def read_by_the_root_of_another_process(target: Target) -> None:
    Path(f"/proc/{target.victim}/root/etc/hostname").read_text()


@attack(*HIDDEN)
def read_by_the_root_of_the_other_manager(target: Target) -> None:
    Path(f"/proc/{target.other}/root{target.run_dir}/instances/blue/dnsmasq.conf").read_text()


@attack(*REFUSED)
def open_by_handle(target: Target) -> None:
    """By the handle of a file, any file of that file system can be guessed, whatever the mounts show."""
    folder = os.open(f"{target.run_dir}/instances/red", os.O_RDONLY | os.O_DIRECTORY)
    handle = (ctypes.c_uint32 * (2 + HANDLE_BYTES // 4))(HANDLE_BYTES)
    mount_id = ctypes.c_int()
    check(libc.name_to_handle_at(folder, b"", handle, ctypes.byref(mount_id), 0x1000))  # AT_EMPTY_PATH
    check(libc.open_by_handle_at(folder, handle, os.O_RDONLY))


@attack(errno.ENOENT)
def connect_to_the_control_socket(target: Target) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(f"{target.run_dir}/control.sock")


@attack(errno.ECONNREFUSED)
def connect_to_an_abstract_socket_of_the_host(_target: Target) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect("\0nsvisor-attack")


@attack(errno.ENOKEY)
def read_a_key_of_whoever_started_the_daemon(_target: Target) -> None:
    check(libc.syscall(SYS_KEYCTL, KEYCTL_SEARCH, SESSION_KEYRING, b"user", b"nsvisor-attack", 0))


@attack(errno.EAGAIN)
def fork_without_end(_target: Target) -> None:
    pids = []
    try:
        for _ in range(1000):
            pid = os.fork()
            if pid == 0:
                signal.pause()
            pids.append(pid)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


# --- mounts and the kernel -----------------------------------------------------------------------------------------


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
