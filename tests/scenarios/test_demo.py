"""The demo, which is the project's promise to a newcomer, holds what it shows."""

import subprocess

import pytest

from tests.hosts.host import ROOT
from tests.scenarios.demo import SCENARIOS

LIMIT = 600  # seconds; fifty are usual


@pytest.mark.timeout(LIMIT + 60)
def test_the_demo_proves_every_step() -> None:
    done = subprocess.run([ROOT / "scripts/demo"], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✓") == sum(len(scenario.steps) for scenario in SCENARIOS)
