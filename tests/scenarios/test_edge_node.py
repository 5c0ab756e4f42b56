"""The edge node's scenario: all its steps, in order, on one network."""

import pytest

from tests.scenarios.edge_node import STEPS, EdgeNode

LIMIT = 600  # seconds; eighty are usual


@pytest.mark.timeout(LIMIT)
def test_every_step_holds() -> None:
    with EdgeNode() as node:
        for step in STEPS:
            assert step(node)
