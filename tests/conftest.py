"""What all tests share: goldens, and throwaway hosts as fixtures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.hosts import Host, Topology

Golden = Callable[[str, str], None]
LONGEST = {"scenarios": -4, "faults": -3, "invariants": -2, "drift": -1, "unit": 1}

# A slow machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--accept` and `--guest`."""
    parser.addoption("--accept", action="store_true", help="rewrite the goldens; read the difference before you commit")
    parser.addoption("--guest", action="store_true", help="this machine is thrown away afterwards (scripts/test-vm)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders whose files take longest first: what ends last is small then, where several run at a time."""
    folder = Path(__file__).parent
    items.sort(key=lambda item: LONGEST.get(item.path.relative_to(folder).parts[0], 0))


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
def folder(tmp_path: Path) -> Path:
    """A folder that every uid can come to."""
    for one in (tmp_path, *tmp_path.parents):
        if one == Path(tempfile.gettempdir()):
            break
        one.chmod(0o755)
    return tmp_path


@pytest.fixture
def host() -> Iterator[Host]:
    """A throwaway host without any link but lo."""
    with Host() as made:
        yield made


@pytest.fixture
def guest(request: pytest.FixtureRequest) -> None:
    """The machine itself may be changed: its initial namespaces, its control groups, its systemd."""
    if not request.config.getoption("--guest"):
        pytest.skip("changes the machine itself; run it by scripts/test-vm")


@pytest.fixture(scope="session")
def boots_machines(request: pytest.FixtureRequest) -> None:
    """A root file system can be made, and boots in seconds."""
    if request.config.getoption("--guest"):
        pytest.skip("a machine in an emulated one")


@pytest.fixture
def topology() -> Iterator[Topology]:
    """A throwaway host behind a gateway, a web server outside."""
    with Topology() as made:
        yield made
