"""What all tests share: goldens, and throwaway hosts as fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.hosts import Host, Topology

Golden = Callable[[str, str], None]

# A slow machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--accept`."""
    parser.addoption("--accept", action="store_true", help="rewrite the goldens; read the difference before you commit")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Return a function `golden(name, text)`: text must equal `goldens/<name>.txt` beside the test's file."""
    folder = request.path.parent / "goldens"

    def compare(name: str, text: str) -> None:
        path = folder / f"{name}.txt"
        text = text.rstrip("\n") + "\n"
        if request.config.getoption("--accept"):
            folder.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"no golden {path}; make it: pytest --accept {Path(request.path).name}"
        assert text == path.read_text(), f"{path} differs; if the new text is right: pytest --accept"

    return compare


@pytest.fixture
def host() -> Iterator[Host]:
    """A throwaway host without any link but lo."""
    with Host() as made:
        yield made


@pytest.fixture
def topology() -> Iterator[Topology]:
    """A throwaway host behind a gateway, a web server outside."""
    with Topology() as made:
        yield made
