"""The edge node's scenario: all its steps, in order, on one network."""

import pytest

from tests.hosts import DEADLINE
from tests.scenarios.edge_node import STEPS, EdgeNode

LIMIT = 10 * DEADLINE  # seconds; eighty are usual


@pytest.mark.timeout(LIMIT)
def test_every_step_holds() -> None:
    with EdgeNode() as node:
        for step in STEPS:
            assert step(node)
