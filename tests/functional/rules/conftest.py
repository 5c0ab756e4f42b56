"""One instance for the tests of a file, which change its rules; one of its own for those that break things."""

from collections.abc import Iterator

import pytest

from tests.functional.rules.rig import RulesRig


@pytest.fixture(scope="module")
def shared() -> Iterator[RulesRig]:
    """An instance whose apps have no rules yet."""
    with RulesRig() as made:
        made.begin(None)
        yield made


@pytest.fixture
def rig() -> Iterator[RulesRig]:
    """An instance that isn't started yet."""
    with RulesRig() as made:
        yield made
