"""dnsmasq's lease file, read. See dnsmasq's src/lease.c: one lease a line. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address

from pubsub.topics import Lease


def parse(text: str) -> tuple[Lease, ...]:
    """Return the IPv4 leases of a lease file: `expiry mac address hostname client-id`. Other lines are skipped."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["duid"]:
            break  # DHCPv6 from here on
        if len(words) != 5 or not words[0].isdecimal():
            continue
        expires, mac, address, hostname, _ = words
        try:
            found.append(
                Lease(
                    address=IPv4Address(address),
                    mac=mac,
                    hostname="" if hostname == "*" else hostname,
                    expires=int(expires),
                )
            )
        except ValueError:
            continue
    return tuple(sorted(found, key=lambda lease: lease.address))
