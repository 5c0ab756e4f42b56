"""Which app has an address of an instance: by the config, the leases, and what was learned. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from pubsub.topics import NamespaceConfig, NamespaceStatus

Address = IPv4Address | IPv6Address
METADATA = IPv4Address("169.254.169.254")  # of the metadata server, as everywhere
METADATA6 = IPv6Address("fd00:ec2::254")


class Residents:
    """The addresses of one instance, as a config and a status tell them."""

    def __init__(self, config: NamespaceConfig, status: NamespaceStatus | None) -> None:
        self._apps: dict[Address, str] = {}
        by_mac = {str(app.mac): app.name for app in config.apps}
        by_port = {app.ifname: app.name for app in config.apps if app.ifname}
        # What is surer comes later: it stays.
        for learned in status.learned if status else ():
            if app := by_port.get(learned.ifname) or by_mac.get(learned.mac):
                self._apps[learned.address.ip] = app
        for lease in status.leases if status else ():
            if app := by_mac.get(lease.mac):
                self._apps[lease.address] = app
        for one in config.apps:
            self._apps |= {address: one.name for address in (one.address, one.address6) if address is not None}
        self._own = _own_addresses(config)

    def app(self, address: Address) -> str:
        """Return whose address it is; empty: no app's."""
        return self._apps.get(address, "")

    def addresses(self, app: str) -> list[Address]:
        """Return all addresses of an app, IPv4 first."""
        return sorted((one for one, name in self._apps.items() if name == app), key=lambda one: (one.version, int(one)))

    def is_instance(self, address: Address) -> bool:
        """Tell whether the instance itself has the address, or it is one for all on the link."""
        return address in self._own or address.is_multicast or address.is_unspecified


def _own_addresses(config: NamespaceConfig) -> set[Address]:
    """Return the instance's own: of its bridge and of its link."""
    found: set[Address] = {METADATA, METADATA6, IPv4Address("255.255.255.255")}
    if config.bridge is not None:
        found |= {config.bridge.ip, config.bridge.network.broadcast_address}
    if config.bridge6 is not None:
        found.add(config.bridge6.ip)
    if config.link is not None:
        found |= {one.ip for one in (config.link.address, config.link.address6) if one is not None}
    return found
