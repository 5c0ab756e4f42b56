"""Which DNS resolvers the host knows of an uplink: what its network manager was told there, else the host's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path

RESOLV_CONF = Path("/etc/resolv.conf")
RESOLVED_CONF = Path("/run/systemd/resolve/resolv.conf")  # the servers behind systemd-resolved's stub on 127.0.0.53
NETWORKD_LEASES = Path("/run/systemd/netif/leases")  # a file per ifindex, with a line `DNS=`
RESOLVCONF_INTERFACES = Path("/run/resolvconf/interface")  # `eth0.dhcp` and the like, as resolv.conf(5)


def resolvers_of(ifname: str, ifindex: int, networks: Sequence[IPv4Network | IPv6Network]) -> tuple[IPv4Address, ...]:
    """Return the IPv4 resolvers to ask by an uplink, the preferred first; those in its own networks before others."""
    own = [*networkd_lease(ifindex), *resolvconf_records(ifname)]
    if own:
        return tuple(dict.fromkeys(own))
    near = [server for server in host_resolvers() if any(server in network for network in networks)]
    return tuple(near) or host_resolvers()


def networkd_lease(ifindex: int) -> Iterator[IPv4Address]:
    """Yield what systemd-networkd got by DHCP (sd-dhcp-lease)."""
    for line in read(NETWORKD_LEASES / str(ifindex)).splitlines():
        if line.startswith("DNS="):
            yield from addresses(line.removeprefix("DNS=").split())


def resolvconf_records(ifname: str) -> Iterator[IPv4Address]:
    """Yield what a DHCP client told resolvconf(8) of an interface."""
    try:
        files = sorted(RESOLVCONF_INTERFACES.iterdir())
    except OSError:
        return
    for file in files:
        if file.name == ifname or file.name.startswith(f"{ifname}."):
            yield from nameservers(read(file))


def host_resolvers() -> tuple[IPv4Address, ...]:
    """Return the IPv4 resolvers that the host itself asks, those behind a local stub where there is one."""
    for path in (RESOLV_CONF, RESOLVED_CONF):
        if found := tuple(nameservers(read(path))):
            return found
    return ()


def nameservers(text: str) -> Iterator[IPv4Address]:
    """Yield the addresses of the `nameserver` lines of resolv.conf(5) that can be asked from elsewhere."""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            yield from addresses(words[1:2])


def addresses(words: Iterable[str]) -> Iterator[IPv4Address]:
    """Yield those words that are IPv4 addresses, but for loopback."""
    for word in words:
        try:
            address = IPv4Address(word)
        except ValueError:
            continue  # an IPv6 one
        if not address.is_loopback:
            yield address


def read(path: Path) -> str:
    """Return a file's text; empty when it can't be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
