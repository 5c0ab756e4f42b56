"""The instance types: a planner each."""

from pubsub.topics import InstanceType
from supervisor.instances.base import Place, Resolved
from supervisor.instances.local import resolve_local

PLANNERS = {InstanceType.LOCAL: resolve_local}

__all__ = ["PLANNERS", "Place", "Resolved"]
