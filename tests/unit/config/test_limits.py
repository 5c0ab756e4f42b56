"""Limits: how sizes are written, and which limits nothing works with."""

from __future__ import annotations

import pytest

from pubsub.codec import decode, encode
from pubsub.config import read_files
from pubsub.config.rules_limits import RANGES
from pubsub.topics import LimitsConfig
from pubsub.values import Size


@pytest.mark.parametrize(
    ("text", "size", "again"),
    [("512K", 512 << 10, "512K"), ("256M", 256 << 20, "256M"), ("2048M", 2 << 30, "2G"), ("1000", 1000, "1000")],
)
def test_a_size_is_read_and_written(text: str, size: int, again: str) -> None:
    assert Size.parse(text) == size
    assert str(Size(size)) == again


@pytest.mark.parametrize("text", ["", "M", "1.5G", "1 G", "-1", "1g", "1GB"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="as 256M"):
        Size.parse(text)


def test_limits_survive_the_wire() -> None:
    limits = LimitsConfig(memory=Size(100 << 20), apps_memory=Size(1 << 30), connections=17)
    assert decode(LimitsConfig, encode(limits)) == limits


def test_every_limit_has_a_range_that_its_default_lies_in() -> None:
    assert RANGES.keys() == set(LimitsConfig.__struct_fields__)
    for field, (least, most) in RANGES.items():
        default = getattr(LimitsConfig(), field)
        assert default is None or least <= default <= most, field


@pytest.mark.parametrize(
    ("text", "field", "remedy"),
    [
        ("memory: 1M", "instances.red.limits.memory", "use 64M to 1024T"),
        ("memory: lots", "instances.red.limits.memory", "as 256M"),
        ("cpu_weight: 0", "instances.red.limits.cpu_weight", "use 1 to 10000"),
        ("apps_memory: 5", "instances.red.limits.apps_memory", "use 1M to 1024T"),
        ("bus_messages: 1", "instances.red.limits.bus_messages", "use 50 to 1000000"),
        ("memori: 1G", "instances.red.limits.memori", "did you mean 'memory'?"),
    ],
)
def test_a_limit_that_nothing_works_with_is_told(text: str, field: str, remedy: str) -> None:
    found = read_files({"a.yaml": f"instances: {{red: {{limits: {{{text}}}}}}}".encode()})
    assert [(one.field, one.line) for one in found.problems] == [(field, 1)]
    assert remedy in found.problems[0].remedy
