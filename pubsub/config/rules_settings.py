"""What the settings must fulfil beyond their types."""

from __future__ import annotations

import re

from pubsub.config.rules_words import Finding, Findings, check_network, check_network6
from pubsub.topics import SupervisorSettings

AGENT = re.compile(r"[A-Za-z0-9_-]{1,64}")
SMALLEST_POOL = 30  # prefixlen: one /31
INSTANCE_PREFIXLEN6 = 64  # of an instance's IPv6 network: what SLAAC needs (RFC 4862)
LINK_PREFIXLEN6 = 127  # of a link between host and instance (RFC 6164)
SLOTS = 4094  # instances that there are uids for, see supervisor/names.py


def validate_settings(settings: SupervisorSettings) -> tuple[Finding, ...]:
    """Return what is wrong with the settings; `name` is empty."""
    found = [*_agents(settings), *_pools(settings), *_pools6(settings)]
    return tuple(Finding("", *finding) for finding in found)


def _agents(settings: SupervisorSettings) -> Findings:
    for index, agent in enumerate(settings.config_from):
        if not AGENT.fullmatch(agent):
            yield ("config_from", str(index)), f"{agent!r} can't be an agent's name", "use letters, digits, - and _"


def _pools(settings: SupervisorSettings) -> Findings:
    if settings.link_pool.prefixlen > SMALLEST_POOL:
        message = f"the pool {settings.link_pool} is too small"
        yield ("link_pool",), message, "an instance needs a /31; use a /16"
    yield from check_network(("link_pool",), settings.link_pool)
    yield from check_network(("subnet_pool",), settings.subnet_pool)
    if settings.link_pool.overlaps(settings.subnet_pool):
        message = f"overlaps link_pool {settings.link_pool}"
        yield ("subnet_pool",), message, "choose two pools that don't overlap"


def _pools6(settings: SupervisorSettings) -> Findings:
    """Yield what is wrong with the IPv6 pools: each has a place for every slot that link_pool has."""
    slots = min(settings.link_pool.num_addresses // 2, SLOTS)
    pools = (
        ("link_pool6", settings.link_pool6, LINK_PREFIXLEN6, slots + 1),  # the first is no instance's
        ("subnet_pool6", settings.subnet_pool6, INSTANCE_PREFIXLEN6, slots),
    )
    for field, pool, prefixlen, count in pools:
        yield from check_network6((field,), pool)
        largest = prefixlen - (count - 1).bit_length()
        if pool.prefixlen > largest:
            message = (
                f"the pool {pool} is too small: link_pool has room for {slots} instances, each needs a /{prefixlen}"
            )
            yield (field,), message, f"use a /{largest} or larger, or a smaller link_pool"
    if settings.link_pool6.overlaps(settings.subnet_pool6):
        message = f"overlaps link_pool6 {settings.link_pool6}"
        yield ("subnet_pool6",), message, "choose two pools that don't overlap"
