"""Whom the metadata server speaks with: an app, and all that may be told to it. Pure."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from nsmanager.residents import Address
from pubsub.topics import Dhcp6Mode, NamespaceApp, NamespaceConfig, NamespaceOutlook

SPACE = uuid.UUID("6e737669-736f-7200-8000-000000000000")  # of our names, for RFC 9562's version 5


@dataclasses.dataclass(frozen=True)
class Caller:
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
        return str(uuid.uuid5(SPACE, f"{self.instance}/{self.app.name}"))

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
