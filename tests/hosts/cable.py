"""A cable between a host's uplink and a gateway, with all that can go wrong with one."""

from __future__ import annotations

import dataclasses

from tests.hosts.capture import Capture
from tests.hosts.host import Host


@dataclasses.dataclass(frozen=True)
class Cable:
    """One uplink of a host and the gateway at its other end."""

    host: Host
    ifname: str  # at the host
    gateway: Host
    port: str  # at the gateway
    address: str  # the host's
    router: str  # the gateway's address
    address6: str = ""  # empty: no IPv6
    router6: str = ""

    def configure_host(self, number: int) -> None:
        """Give the host its addresses and its default routes; the first uplink is the preferred one.

        The first one's IPv6 router is left to be told by RA.
        """
        metric = f"metric {100 * number}" if number else ""
        self.host.sh(
            f"ip addr add {self.address}/24 dev {self.ifname}; "
            f"ip route add default via {self.router} dev {self.ifname} {metric}"
        )
        if self.address6:
            self.host.sh(f"ip addr add {self.address6}/64 dev {self.ifname}")
            if number:
                route = f"default via {self.router6} dev {self.ifname} metric {2000 + number}"
                self.host.sh(f"ip -6 route add {route}")

    def capture(self, expression: str = "") -> Capture:
        """Return a capture of what passes the cable, at the gateway's end."""
        return Capture(self.gateway, self.port, expression)

    def unplug(self) -> None:
        """Take the carrier away."""
        self.gateway.sh(f"ip link set {self.port} down")

    def plug(self) -> None:
        """Give the carrier back."""
        self.gateway.sh(f"ip link set {self.port} up")

    def silence(self, address: str = "") -> None:
        """Let the gateway drop all that comes by this cable, ARP too; or only what goes to an address behind it."""
        to = f"{'ip6' if ':' in address else 'ip'} daddr {address}" if address else ""
        self.gateway.sh(
            f"nft add table netdev {self.port}; nft 'add chain netdev {self.port} arriving "
            f"{{ type filter hook ingress device {self.port} priority 0; }}'; "
            f"nft add rule netdev {self.port} arriving {to} drop"
        )

    def speak(self) -> None:
        """Let everything pass again."""
        self.gateway.sh(f"nft delete table netdev {self.port}")
