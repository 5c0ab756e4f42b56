"""The edge node: six instances on four uplinks, which overlap four times on purpose, as steps that return their proof.

Each step raises AssertionError when its promise doesn't hold. Steps are done in order, on one network.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.scenarios.edge import apps, far, host
from tests.scenarios.edge.config import CONFIG
from tests.scenarios.edge.node import EdgeNode

DRAWN_AFTER = far.reach_the_clouds

STEPS: tuple[Callable[[EdgeNode], str], ...] = (
    apps.come_up,
    apps.get_addresses,
    apps.reach_by_name,
    apps.be_dropped_by_name,
    apps.reach_a_neighbour_by_name,
    apps.hairpin_on_one_uplink,
    apps.know_themselves,
    apps.be_answered_and_stay_inside,
    apps.reach_outside,
    apps.hairpin_over_two_uplinks,
    apps.have_own_neighbours,
    far.reach_the_clouds,
    far.be_cut_off,
    far.keep_the_rate,
    far.reach_nothing_else,
    host.be_reached_from_outside,
    host.be_reached_from_the_host,
    host.stay_apart,
    host.fail_over,
    host.survive_every_kill,
    host.leave_nothing,
)

__all__ = ["CONFIG", "DRAWN_AFTER", "STEPS", "EdgeNode"]
