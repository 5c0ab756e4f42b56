"""Attacks on namespaces, and on links by which to leave them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket

from supervisor import syscalls
from tests.attack import netlink
from tests.attack.registry import (
    HIDDEN,
    NS_GET_PARENT,
    REFUSED,
    Target,
    attack,
    ip,
)


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


@attack(*REFUSED, inside=True)
def veth_into_the_host_by_pid(target: Target) -> None:
    netlink.new_veth("atk0", "atk1", netlink.number(netlink.IFLA_NET_NS_PID, target.victim))


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
    netlink.move_link(socket.if_nametoindex("atk0"), target.victim)


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
