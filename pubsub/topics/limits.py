"""What an instance may use of what all instances share, and what it uses."""

from __future__ import annotations

from pubsub.topics.base import Message
from pubsub.values import Size


class LimitsConfig(Message, frozen=True, kw_only=True):
    """What an instance may use at most. Who is over a limit is refused more; the other instances aren't."""

    memory: Size = Size(256 << 20)  # of the manager and its services together
    processes: int = 512  # of the manager and its services together, threads count
    open_files: int = 1024  # of each process of the manager and its services
    cpu_weight: int = 100  # of the whole instance, its commands too, while others want the processors: as cpu.weight
    apps_memory: Size | None = None  # of all commands of `nsvisor run` together; None: no limit
    apps_processes: int = 4096  # of all commands of `nsvisor run` together, threads count
    connections: int = 65536  # tracked at a time
    neighbours: int = 1024  # addresses of each family, on its links, that the kernel keeps the MAC address of
    leases: int = 1000  # of DHCP, of each family
    flows: int = 5000  # records of connections, a second, on the average of ten
    queries: int = 1000  # DNS queries, a second
    broadcasts: int = 5000  # broadcast and multicast frames of each app, a second
    bus_messages: int = 1000  # that its manager sends on the bus, a second
    bus_bytes: Size = Size(8 << 20)  # likewise


class ResourceUse(Message, frozen=True, kw_only=True):
    """How much of one thing an instance uses."""

    name: str  # as the field of LimitsConfig
    used: int  # now, or in the last second
    limit: int = 0  # 0: none
    peak: int = 0  # the most that it has been; 0: not known
    refused: int = 0  # how often more was refused


class InstanceResources(Message, frozen=True, kw_only=True):
    """What an instance uses, and may. Told by the supervisor every few seconds; the key is the instance's name."""

    at: float = 0.0  # seconds since the epoch
    held_by: str = ""  # what holds processes to their limits: `cgroup` or `rlimits`
    resources: tuple[ResourceUse, ...] = ()
