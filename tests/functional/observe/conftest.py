"""One instance with all its logs on, for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.observe.rig import Rig


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """An instance whose two apps have their addresses; a test leaves it as it found it."""
    with Rig() as made:
        yield made
