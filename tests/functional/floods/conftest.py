"""One network for all floods."""

from collections.abc import Iterator

import pytest

from tests.functional.floods.rig import FloodRig


@pytest.fixture(scope="module")
def rig() -> Iterator[FloodRig]:
    with FloodRig() as made:
        yield made
