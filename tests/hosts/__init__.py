"""Throwaway hosts for tests, the demo and benchmarks: the real kernel, and nothing of the machine is touched."""

from tests.hosts.cable import Cable
from tests.hosts.capture import Capture
from tests.hosts.daemon import Daemon
from tests.hosts.host import RULESET, Host, connect
from tests.hosts.machine import Machine
from tests.hosts.topology import Topology
from tests.hosts.traffic import Stream
from tests.hosts.waiting import DEADLINE, wait_until

__all__ = [
    "DEADLINE",
    "RULESET",
    "Cable",
    "Capture",
    "Daemon",
    "Host",
    "Machine",
    "Stream",
    "Topology",
    "connect",
    "wait_until",
]
