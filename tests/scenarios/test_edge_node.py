"""The edge node's scenario, with the instance types that there are."""

from tests.scenarios.edge_node import STEPS, EdgeNode


def test_every_step_holds() -> None:
    with EdgeNode() as node:
        for step in STEPS:
            assert step(node)
