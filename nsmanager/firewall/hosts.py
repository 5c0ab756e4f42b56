"""The sets of addresses that the host names of rules were resolved to, in this instance. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from nsmanager.marks import HOST_SETS
from pubsub.topics import NamespaceConfig

TIMEOUT = "60s"  # until the answer that an address was in is read, and says how long it holds
SIZE = 4096  # addresses of a name
HASH_LENGTH = 16  # hexadecimal digits of a name in a set's name


def host_sets(config: NamespaceConfig) -> Mapping[str, tuple[str, str]]:
    """Return the sets of each name that a rule in force names: for itself and names below it, IPv4's and IPv6's.

    Names are in lower case without a final dot. The sets stand in `table inet nsvisor`.
    """
    names = {
        host_suffix(rule.host)
        for app in config.apps
        for rule in app.rules or ()
        if rule.host and (not rule.uplink or rule.uplink in config.uplinks)
    }
    return {name: set_names(name) for name in sorted(names)}


def known_addresses(config: NamespaceConfig, suffix: str) -> list[IPv4Address | IPv6Address]:
    """Return what dnsmasq knows by itself of a rule's host: these answers fill no set, see dnsmasq(8)."""
    found: list[tuple[str, IPv4Address | IPv6Address | None]] = list(config.hosts.items())
    for app in config.apps:
        if app.name not in config.hosts:
            found += [(app.name, app.address), (app.name, app.address6)]
    return [
        address
        for name, address in found
        if address is not None and any(below(full, suffix) for full in (name, f"{name}.{config.domain}"))
    ]


def below(name: str, suffix: str) -> bool:
    """Tell whether a name is the suffix, or ends in it after a dot."""
    return f".{name.lower()}".endswith(f".{suffix}")


def host_suffix(host: str) -> str:
    """Return how a rule's host is known: `*.Example.test.` and `example.test` are the same."""
    return host.lower().removeprefix("*").strip(".")


def set_names(suffix: str) -> tuple[str, str]:
    """Return the sets of one name: IPv4's and IPv6's."""
    digest = hashlib.sha256(suffix.encode()).hexdigest()[:HASH_LENGTH]
    four, six = HOST_SETS
    return four + digest, six + digest


def host_declarations(config: NamespaceConfig) -> Iterator[str]:
    """Yield the sets: dnsmasq fills them, so they live on when the rules change."""
    for names in host_sets(config).values():
        for name, type_ in zip(names, ("ipv4_addr", "ipv6_addr"), strict=True):
            yield f"set {name} {{ type {type_}; flags timeout; timeout {TIMEOUT}; size {SIZE}; }}"
