"""The mounts that a command of `run` or `exec` sees: the host's, with a resolver and a /sys of the instance's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from supervisor import syscalls
from supervisor.mounts import SMALL
from supervisor.syscalls import MNT_DETACH, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_SLAVE

# sockets in the file system answer in every network namespace: these would resolve names the host's way
HIDDEN: Final = ("/run/systemd/resolve", "/run/dbus", "/run/nscd", "/run/avahi-daemon")
RESOLV_CONF: Final = "/etc/resolv.conf"
PINS: Final = "/run/netns"
STAGE: Final = "/sys"  # covered anyway, at the end
DHCP_SCRIPT: Final = f"{PINS}/udhcpc.script"  # an app sees no pins, so that folder is free for it
DHCP_SCRIPT_TEXT: Final = """#!/bin/sh
# udhcpc tells what it got by $1 and the environment; resolv.conf is the instance's business
case "$1" in
deconfig) ip -4 address flush dev "$interface" ;;
bound|renew)
    ip address replace "$ip/$mask" dev "$interface" &&
    { [ -z "$router" ] || ip route replace default via "${router%% *}" dev "$interface"; } ;;
esac
"""


def enter_command(resolv_conf: str, *, app: bool) -> None:
    """Arrange the caller's own mount namespace, a fresh copy of the host's. It is in its network namespace already.

    An app (in its own process namespace) also gets its own /proc, and loses sight of the pins: held in its mount
    namespace they would keep deleted instances alive.
    """
    syscalls.mount("none", "/", flags=MS_REC | MS_SLAVE)
    syscalls.mount("tmpfs", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, SMALL)
    Path(STAGE, "resolv.conf").write_text(resolv_conf)
    for folder in HIDDEN:
        if Path(folder).is_dir():
            syscalls.mount("tmpfs", folder, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, SMALL)
    if not os.path.lexists(RESOLV_CONF):
        _add_to_etc(RESOLV_CONF)
    _attach(f"{STAGE}/resolv.conf", RESOLV_CONF)
    if app:
        _cover_pins()
        syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    syscalls.umount(STAGE, MNT_DETACH)
    syscalls.mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _cover_pins() -> None:
    script = Path(STAGE, "pins", Path(DHCP_SCRIPT).name)
    script.parent.mkdir()
    script.write_text(DHCP_SCRIPT_TEXT)
    script.chmod(0o755)
    syscalls.umount(PINS, MNT_DETACH)
    _attach(str(script.parent), PINS)


def _attach(source: str, target: str) -> None:
    """Show `source` at `target`, read-only; a symbolic link there (into a hidden folder, often) is covered itself."""
    copy = syscalls.clone_tree(source)
    syscalls.set_attributes(copy, syscalls.MOUNT_ATTR_RDONLY)
    syscalls.attach(copy, target)
    os.close(copy)


def _add_to_etc(path: str) -> None:
    """Make a place to mount on where the host has none, without touching the host's /etc."""
    for name in ("upper", "work"):
        Path(STAGE, name).mkdir()
    layers = f"lowerdir=/etc,upperdir={STAGE}/upper,workdir={STAGE}/work"
    syscalls.mount("overlay", "/etc", "overlay", 0, layers)
    Path(path).touch()
