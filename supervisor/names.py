"""Names and numbers that follow from an instance's name or slot, and the constants of the host's plan.

A *slot* is a small number that the ledger gives to an instance for life: its uid range and its link addresses follow
from it.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Interface, IPv4Network

from pubsub.values import MacAddress

UPLINK_IFNAME = "up0"  # the instance's end of the veth to the host
HOST_END_PREFIX = "v-"  # + instance name: the host's end; names of 13 characters fill IFNAMSIZ

UID_POOL_FIRST = 0x7000_0000  # above systemd's container ranges (0x6fff_ffff), see systemd UIDS-GIDS.md
UID_POOL_LAST = 0x7FFD_FFFF  # below systemd's foreign range (0x7ffe_0000)
UIDS_PER_INSTANCE = 65536  # so that nobody (65534) exists inside
SLOTS = (UID_POOL_LAST + 1 - UID_POOL_FIRST) // UIDS_PER_INSTANCE  # 4094
HUB_UID = UID_POOL_LAST  # the hub's, where the system has no user `nsvisor`; its block is never given to an instance

MARK_BASE = 0x100  # + ifindex: the mark of packets bound to an uplink
MARK_HOST = 0x1  # of connections that the host itself opened to a port map
MARK_MASK = 0xFFFF  # the bits of the mark that are ours
LAST_IFINDEX = MARK_MASK - MARK_BASE  # of an uplink
TABLE_BASE = 196_000  # + ifindex: the routing table of an uplink; clear of what people number by hand
TABLE_LINKS = 195_999  # /32 routes to the instances' ends of their links

# Priorities of the host's rules; see docs/design.md for what each is for.
PREF_OWN_OUTPUT = 1
PREF_FAIL_CLOSED = 2
PREF_HOST_ENDS = 3
PREF_LINKS = 5
PREF_UPLINKS = 10
PREF_LOCAL = 100  # where the kernel's rule 0 (lookup local) moves to


def host_end(instance: str) -> str:
    """Return the ifname of the host's end of an instance's link."""
    return HOST_END_PREFIX + instance


def app_port(app: str) -> str:
    """Return the ifname of an app's port on its instance's bridge."""
    return "p-" + app


def uid_base(slot: int) -> int:
    """Return the first uid of the slot's range."""
    return UID_POOL_FIRST + slot * UIDS_PER_INSTANCE


def host_mac(instance: str) -> MacAddress:
    """Return the MAC address of the host's end: fixed, for the instance knows it without asking (see tables.py)."""
    digest = hashlib.blake2s(f"host end of {instance}".encode(), digest_size=5).digest()
    return MacAddress.parse("02:" + digest.hex(":"))


def conf_sysctl(ifname: str, what: str) -> str:
    """Return the name of an IPv4 setting of a link; with slashes where the ifname has dots (sysctl(8))."""
    name = f"net.ipv4.conf.{{}}.{what}"
    return (name.replace(".", "/") if "." in ifname else name).format(ifname)


def link_addresses(pool: IPv4Network, slot: int) -> tuple[IPv4Interface, IPv4Interface]:
    """Return the host's and the instance's end of the slot's /31 (RFC 3021)."""
    first = int(pool.network_address) + 2 * slot
    return IPv4Interface((first, 31)), IPv4Interface((first + 1, 31))


def uplink_mark(ifindex: int) -> int:
    """Return the mark of packets bound to an uplink; its ifindex is LAST_IFINDEX at most."""
    return MARK_BASE + ifindex


def uplink_table(ifindex: int) -> int:
    """Return the number of an uplink's routing table."""
    return TABLE_BASE + ifindex


def app_mac(instance: str, app: str) -> MacAddress:
    """Return the same locally administered unicast address for the same app each time."""
    digest = hashlib.blake2s(f"{instance}/{app}".encode(), digest_size=5).digest()
    return MacAddress.parse("02:" + digest.hex(":"))


def name_number(name: str) -> int:
    """Return the same number of 32 bits for the same name each time, spread evenly."""
    return int.from_bytes(hashlib.blake2s(name.encode(), digest_size=4).digest(), "big")
