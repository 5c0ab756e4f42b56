"""Which links are steered, and how the kernel writes which processors."""

from __future__ import annotations

import msgspec
import pytest

from pubsub.topics import SupervisorSettings
from supervisor.packet_steering import mask
from supervisor.plan import Lot, Wanted, plan
from tests.unit.supervisor.samples import SMALL, SUBNET, facts, uplink


def steered(processors: int, *, wanted: bool) -> list[str]:
    """Return the commands that steer the links of two instances, one of which has no link."""
    configs = {"red": SMALL, "air": msgspec.structs.replace(SMALL, uplinks=())}
    host = msgspec.structs.replace(facts(uplink(), stand=("red", "air")), processors=processors)
    lots = {name: Lot(slot, SUBNET) for slot, name in enumerate(configs)}
    found = plan(Wanted(configs, settings=SupervisorSettings(packet_steering=wanted)), host, lots)
    return [str(item) for item in found.items if "rps_cpus" in str(item)]


def test_where_it_is_wanted_each_link_is_steered() -> None:
    assert steered(0b1011, wanted=True) == ["echo b > /sys/class/net/v-red/queues/rx-0/rps_cpus"]
    assert not steered(0b1011, wanted=False)


def test_one_processor_has_nothing_to_spread() -> None:
    assert not steered(0, wanted=True)


@pytest.mark.parametrize(
    ("processors", "text"),
    [
        (0, "0"),
        (0b11, "3"),
        (0xFFFFFFFF, "ffffffff"),
        (1 << 32, "1,00000000"),
        ((1 << 80) - 1, "ffff,ffffffff,ffffffff"),
    ],
)
def test_processors_are_written_in_groups_of_32(processors: int, text: str) -> None:
    assert mask(processors) == text
