"""The way of a packet that isn't sent: the kernel's routes and rules are asked about it, link by link."""

from supervisor.cli.way.kernel import Kernel
from supervisor.cli.way.packet import Packet, Way
from supervisor.cli.way.walk import walk

__all__ = ["Kernel", "Packet", "Way", "walk"]
