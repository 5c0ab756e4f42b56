"""Which slot and which subnet a new instance gets."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Network

from supervisor.names import SLOTS, UID_POOL_FIRST, UIDS_PER_INSTANCE, name_number

AUTO_PREFIXLEN = 24  # of a subnet that nobody configured


def first_slot(state_dir: str) -> int:
    """Where a daemon begins to look, so that several on one machine meet seldom; the default one begins at 0."""
    if state_dir == "/var/lib/nsvisor":
        return 0
    return name_number(state_dir) % SLOTS


def free_slot(start: int, taken: Collection[int], foreign: Iterable[range], limit: int) -> int:
    """Return the next slot from `start` that is not taken and whose uids nobody else has.

    `foreign` are uid ranges of /etc/subuid and /etc/subgid, and the uids of running processes; `limit` is how many
    slots the link pool has room for. Raises LookupError when all are taken.
    """
    blocked = set(taken) | {SLOTS - 1}  # the last one is the hub's
    for uids in foreign:
        low = (uids.start - UID_POOL_FIRST) // UIDS_PER_INSTANCE
        high = (uids.stop - 1 - UID_POOL_FIRST) // UIDS_PER_INSTANCE
        blocked.update(range(max(low, 0), min(high, SLOTS - 1) + 1))
    usable = min(SLOTS, limit)
    for step in range(usable):
        slot = (start + step) % usable
        if slot not in blocked:
            return slot
    raise LookupError(f"all {usable} slots for instances are taken; delete instances or widen settings.link_pool")


def free_subnet(pool: IPv4Network, taken: Collection[IPv4Network]) -> IPv4Network:
    """Return the first subnet of the pool that overlaps none of the taken ones. LookupError when there is none."""
    prefixlen = max(AUTO_PREFIXLEN, pool.prefixlen)
    for subnet in pool.subnets(new_prefix=prefixlen):
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise LookupError(f"no free subnet is left in settings.subnet_pool {pool}; name one, or widen the pool")


def uid_ranges(subid: str) -> list[range]:
    """Read the text of /etc/subuid or /etc/subgid (subuid(5)); lines that are none are left out."""
    ranges = []
    for line in subid.splitlines():
        parts = line.split(":")
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            ranges.append(range(int(parts[1]), int(parts[1]) + int(parts[2])))
    return ranges
