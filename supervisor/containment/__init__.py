"""What holds each instance's processes to their limits: control groups where there are any to use, rlimits else."""

from supervisor.containment.holder import Containment, Hold
from supervisor.containment.scope import find_root

__all__ = ["Containment", "Hold", "find_root"]
