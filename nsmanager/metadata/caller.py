"""Whom the metadata server speaks with: an app, and all that may be told to it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

import msgspec

from nsmanager.residents import Address
from pubsub.topics import Dhcp6Mode, NamespaceApp, NamespaceConfig, NamespaceOutlook


class Caller(msgspec.Struct, frozen=True):
    """One app, at the time of its request."""

    instance: str
    config: NamespaceConfig
    app: NamespaceApp
    outlook: NamespaceOutlook
    addresses: tuple[IPv4Address, ...]
    addresses6: tuple[IPv6Address, ...]
    end: str = ""  # address:port that the request came from, as EVE tells it

    @property
    def id(self) -> str:
        """The same for the same app each time: by a new one cloud-init would begin anew."""
        digest = hashlib.sha256(f"{self.instance}/{self.app.name}".encode()).hexdigest()
        return "-".join((digest[:8], digest[8:12], "8" + digest[13:16], "8" + digest[17:20], digest[20:32]))  # RFC 9562

    @property
    def hostname(self) -> str:
        return f"{self.app.name}.{self.config.domain}" if self.config.domain else self.app.name

    @property
    def external(self) -> str:
        """The address by which it is seen and reached outside; empty: none."""
        return str(self.outlook.external[0]) if self.outlook.external else ""

    @property
    def has_dhcp6(self) -> bool:
        return self.config.bridge6 is not None and self.config.dhcp6 is Dhcp6Mode.STATEFUL


def app_named(config: NamespaceConfig, name: str) -> NamespaceApp | None:
    """Return an app of the config; None when there is no such one."""
    return next((app for app in config.apps if app.name == name), None)


def by_version(found: Iterable[Address]) -> tuple[tuple[IPv4Address, ...], tuple[IPv6Address, ...]]:
    """Return addresses of IPv4, and of IPv6."""
    found = tuple(found)
    four = tuple(address for address in found if isinstance(address, IPv4Address))
    return four, tuple(address for address in found if isinstance(address, IPv6Address))
