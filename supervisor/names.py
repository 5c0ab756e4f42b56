"""Names and numbers that follow from an instance's name or slot, and the constants of the host's plan.

A *slot* is a small number that the ledger gives to an instance for life: its uid range and its link addresses follow
from it.
"""

from __future__ import annotations

import functools
import hashlib
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

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
LAST_MARK = 0x7FFF  # of an uplink; those above are of static routes by another router
LAST_IFINDEX = LAST_MARK - MARK_BASE  # of an uplink
TABLE_BASE = 196_000 - MARK_BASE  # + mark: its routing table; clear of what people number by hand
TABLE_LINKS = 195_999  # /32 routes to the instances' ends of their links

# Priorities of the host's rules; see docs/design.md for what each is for.
PREF_OWN_OUTPUT = 1
PREF_FAIL_CLOSED = 2
PREF_HOST_ENDS = 3
PREF_LINKS = 5
PREF_UPLINKS = 10  # of static routes by another router too
FORWARDING6 = "net.ipv6.conf.all.forwarding"  # of the whole host
FORWARDS6 = "2"  # to the kernel the same as 1, which is what anybody else writes: so it is seen that somebody did
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
    return derived_mac(f"host end of {instance}")


def inner_mac(instance: str) -> MacAddress:
    """Return the MAC address of the instance's end, which the host knows without asking."""
    return derived_mac(f"inner end of {instance}")


def conf_sysctl(ifname: str, what: str, version: int = 4) -> str:
    """Return the name of a setting of a link; with slashes where the ifname has dots (sysctl(8))."""
    name = f"net.ipv{version}.conf.{{}}.{what}"
    return (name.replace(".", "/") if "." in ifname else name).format(ifname)


@functools.cache
def link_addresses(pool: IPv4Network, slot: int) -> tuple[IPv4Interface, IPv4Interface]:
    """Return the host's and the instance's end of the slot's /31 (RFC 3021)."""
    first = int(pool.network_address) + 2 * slot
    return IPv4Interface((first, 31)), IPv4Interface((first + 1, 31))


@functools.cache
def link_addresses6(pool: IPv6Network, slot: int) -> tuple[IPv6Interface, IPv6Interface]:
    """Return the host's and the instance's end of the slot's /127 (RFC 6164)."""
    first = int(pool.network_address) + 2 * (slot + 1)  # the pool's first address is that of all its routers
    return IPv6Interface((first, 127)), IPv6Interface((first + 1, 127))


@functools.cache
def subnet6(pool: IPv6Network, slot: int) -> IPv6Network:
    """Return the slot's /64 of the pool."""
    return IPv6Network((int(pool.network_address) + (slot << 64), 64))


def uplink_mark(ifindex: int) -> int:
    """Return the mark of packets bound to an uplink; its ifindex is LAST_IFINDEX at most."""
    return MARK_BASE + ifindex


def mark_table(mark: int) -> int:
    """Return the number of the routing table that a mark leads to."""
    return TABLE_BASE + mark


def uplink_table(ifindex: int) -> int:
    """Return the number of an uplink's routing table."""
    return mark_table(uplink_mark(ifindex))


def app_mac(instance: str, app: str) -> MacAddress:
    """Return the same locally administered unicast address for the same app each time."""
    return derived_mac(f"{instance}/{app}")


@functools.cache
def derived_mac(text: str) -> MacAddress:
    """Return a locally administered unicast address that follows from the text."""
    return MacAddress.parse("02:" + hashlib.blake2s(text.encode(), digest_size=5).digest().hex(":"))


def name_number(name: str) -> int:
    """Return the same number of 32 bits for the same name each time, spread evenly."""
    return int.from_bytes(hashlib.blake2s(name.encode(), digest_size=4).digest(), "big")
