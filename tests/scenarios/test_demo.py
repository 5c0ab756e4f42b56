"""The demo, which is the project's promise to a newcomer, holds what it shows."""

import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.hosts.host import ROOT
from tests.scenarios.demo import QUICK, WHOLE, Scenario

LIMIT = 900  # seconds; a hundred are usual


@pytest.mark.timeout(LIMIT + 60)
@pytest.mark.parametrize(("options", "scenario"), [([], WHOLE), (["--quick"], QUICK)], ids=["whole", "quick"])
def test_the_demo_proves_every_step(options: list[str], scenario: Scenario, tmp_path: Path) -> None:
    picture = tmp_path / "network.svg"
    argv = [str(ROOT / "scripts/demo"), *options, "--svg", str(picture)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✓") == len(scenario.steps)
    names = [element.text for element in ET.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert set(names) >= {"outside", "eth0"}, names
