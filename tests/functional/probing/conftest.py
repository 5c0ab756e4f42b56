"""Each test gets its own host with two uplinks, and a prober in it."""

from collections.abc import Iterator

import pytest

from tests.functional.probing.rig import Rig
from tests.hosts import Topology


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Topology(uplinks=2) as topology:
        made = Rig(topology)
        made.start()
        yield made
