"""Attacks on files, sockets and keys of others."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
from pathlib import Path

from tests.attack.registry import (
    HANDLE_BYTES,
    HIDDEN,
    KEYCTL_SEARCH,
    REFUSED,
    SESSION_KEYRING,
    SYS_KEYCTL,
    Target,
    attack,
    check,
    libc,
)

SECRETS = {  # what the test puts there before: what is whose
    "a_file_of_the_other_instance": "{run}/instances/blue/dnsmasq.conf",
    "a_lease_of_the_other_instance": "{state}/instances/blue/leases",
    "the_ledger": "{state}/ledger.json",
    "the_supervisors_records": "{run}/state/blue.json",
    "the_log_of_the_other_instance": "{run}/logs/blue.log",
    "the_tables_of_the_bus": "{run}/bus/tables/secret",
    "the_configuration": "/etc/nsvisor/all.yaml",
    "the_hosts_run_folder": "/run/secret",
    "the_secret_of_anothers_tunnel": "{run}/instances/blue/vpn-cloud.psk",
    "the_secrets_of_all": "/etc/nsvisor/secrets/cloud",
    "a_crash_report": "{state}/crashes/blue/report.txt",
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


@attack(errno.ENOENT)
def connect_to_anothers_charon(target: Target) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(f"{target.run_dir}/instances/blue/charon.vici")


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
