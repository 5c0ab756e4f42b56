"""The way of a packet that isn't sent: the kernel's routes and rules are asked about it, link by link."""

from supervisor.cli.way.kernel import Kernel
from supervisor.cli.way.walk import walk
from supervisor.passage.packet import Packet, Way

__all__ = ["Kernel", "Packet", "Way", "walk"]
