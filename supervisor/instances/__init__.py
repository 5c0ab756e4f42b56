"""The instance types: a planner each."""

from pubsub.topics import InstanceType
from supervisor.instances.base import Place, Resolved
from supervisor.instances.local import resolve_local
from supervisor.instances.switch import resolve_switch

PLANNERS = {InstanceType.LOCAL: resolve_local, InstanceType.SWITCH: resolve_switch}

__all__ = ["PLANNERS", "Place", "Resolved"]
