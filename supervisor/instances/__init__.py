"""The instance types: a planner each."""

from pubsub.topics import InstanceType
from supervisor.instances.base import Place, Resolved
from supervisor.instances.local import resolve_local
from supervisor.instances.switch import resolve_switch
from supervisor.instances.vpn import resolve_vpn

PLANNERS = {
    InstanceType.LOCAL: resolve_local,
    InstanceType.SWITCH: resolve_switch,
    InstanceType.VPN: resolve_vpn,
}

__all__ = ["PLANNERS", "Place", "Resolved"]
