"""Each test gets its own host, hub, namespace and manager."""

from collections.abc import Iterator

import pytest

from tests.functional.nsmanager.rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    """An instance whose manager isn't started yet, with a config on the bus."""
    with Rig() as made:
        made.publish()
        yield made


@pytest.fixture
def running(rig: Rig) -> Rig:
    """An instance that is ready."""
    rig.start()
    rig.wait_ready()
    return rig
