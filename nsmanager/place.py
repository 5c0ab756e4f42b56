"""Where a manager lives: its instance's name, its folders and the account of its services."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Place(msgspec.Struct, frozen=True):
    """What a plan must know beside the config."""

    name: str  # of the instance
    run_dir: Path
    state_dir: Path
    user: str = "nobody"  # whom services become; user 65534, by whatever name the host has for it
    group: str = "nogroup"
    kernel_esp: bool = False  # the kernel has ESP and the links for it; asked where there are tunnels only

    @property
    def run(self) -> Path:
        """Folder of files that may go with a reboot."""
        return self.run_dir / "instances" / self.name

    @property
    def lasting(self) -> Path:
        """Folder of files that survive a reboot."""
        return self.state_dir / "instances" / self.name

    @property
    def heartbeat(self) -> Path:
        """File that a living manager writes."""
        return self.run / "heartbeat"

    @property
    def leases(self) -> Path:
        """The lease file of dnsmasq: beside the manager's files, for dnsmasq opens it before it drops its rights."""
        return self.lasting / "leases"
