"""confd keeps its tables equal to the files, over restarts of itself and of a real hub."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

import pubsub
from pubsub import confd
from pubsub.topics import ConfigProblem, NetworkInstanceConfig, SupervisorSettings, TableStatus
from tests.hosts import DEADLINE

T = TypeVar("T")
NEVER = 3600.0  # seconds


class Place:
    """A config directory, a run-dir and a state-dir with a hub."""

    def __init__(self, folder: Path) -> None:
        self.config, self.run, self.state = folder / "config", folder / "run", folder / "state"
        for directory in (self.config, self.run, self.state):
            directory.mkdir()

    @contextlib.contextmanager
    def hub(self) -> Iterator[None]:
        argv = [sys.executable, "-m", "pubsub", "--run-dir", str(self.run), "--state-dir", str(self.state)]
        process = subprocess.Popen(argv)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=DEADLINE)

    @contextlib.asynccontextmanager
    async def confd(self) -> AsyncIterator[asyncio.Event]:
        """Run it; it has published what the files said, and looks for changes from here on."""
        reload, published = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(confd.follow(self.config, self.run, reload, published))
        try:
            async with asyncio.timeout(DEADLINE):
                await published.wait()
            yield reload
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def write(self, name: str, text: str) -> None:
        (self.config / name).write_text(text)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def mtus(bus: pubsub.Bus) -> dict[str, int]:
    return {name: config.mtu for name, config in (await bus.table(NetworkInstanceConfig, agent="confd")).items()}


async def problems(bus: pubsub.Bus) -> list[str]:
    return [problem.field for problem in (await bus.table(ConfigProblem, agent="confd")).values()]


async def become(read: Callable[[], Awaitable[T]], wanted: T) -> None:
    """Wait until `read` gives what is wanted."""
    found = None
    try:
        async with asyncio.timeout(DEADLINE):
            while (found := await read()) != wanted:  # noqa: ASYNC110  # a table at the hub gives no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        assert found == wanted


async def _is_empty(bus: pubsub.Bus) -> bool:
    return not await mtus(bus)


async def until(read: Callable[[], Awaitable[bool]]) -> None:
    await become(read, wanted=True)


def test_files_are_published_and_followed(place: Place) -> None:
    async def scenario() -> None:
        place.write("lab.yaml", "instances: {red: {mtu: 1400}}\nsettings: {link_pool: 100.100.0.0/16}\n")
        async with place.confd(), pubsub.connect(place.run, agent="test") as bus:
            await become(lambda: mtus(bus), {"red": 1400})
            settings = await bus.table(SupervisorSettings, agent="confd")
            assert str(settings["settings"].link_pool) == "100.100.0.0/16"
            place.write("more.yml", "instances: {blue: {}}")
            await become(lambda: mtus(bus), {"red": 1400, "blue": 1500})
            place.write("lab.yaml", "instances: {red: {mtu: 1300}}")
            await become(lambda: mtus(bus), {"red": 1300, "blue": 1500})
            (place.config / "more.yml").unlink()
            await become(lambda: mtus(bus), {"red": 1300})

    with place.hub():
        asyncio.run(scenario())


def test_a_broken_instance_keeps_its_last_good_config_over_a_restart_of_all(place: Place) -> None:
    async def first() -> None:
        place.write("lab.yaml", "instances: {red: {mtu: 1400}, blue: {mtu: 1400}}")
        async with place.confd(), pubsub.connect(place.run, agent="test") as bus:
            await become(lambda: mtus(bus), {"red": 1400, "blue": 1400})
            place.write("lab.yaml", "instances: {red: {mtu: none}, blue: {mtu: 1300}}")
            await become(lambda: mtus(bus), {"red": 1400, "blue": 1300})
            assert await problems(bus) == ["instances.red.mtu"]

    async def second() -> None:
        async with place.confd(), pubsub.connect(place.run, agent="test") as bus:
            await become(lambda: mtus(bus), {"red": 1400, "blue": 1290})
            await become(lambda: problems(bus), ["instances.red.mtu"])

    async def third() -> None:
        async with place.confd(), pubsub.connect(place.run, agent="test") as bus:
            await become(lambda: problems(bus), [""])  # of the file as a whole
            assert await mtus(bus) == {"red": 1400, "blue": 1290}
            place.write("lab.yaml", "instances: {blue: {}}")
            await become(lambda: mtus(bus), {"blue": 1500})
            assert await problems(bus) == []

    with place.hub():
        asyncio.run(first())
    place.write("lab.yaml", "instances: {red: {mtu: none}, blue: {mtu: 1290}}")
    with place.hub():
        asyncio.run(second())
    place.write("lab.yaml", "instances: {red: {mtu: 1000}")
    with place.hub():
        asyncio.run(third())


def test_an_unchanged_config_publishes_nothing(place: Place) -> None:
    async def sequence(bus: pubsub.Bus, topic: str) -> int:
        status = (await bus.table(TableStatus, agent="hub")).get(f"confd/{topic}")
        return status.sequence if status else 0

    async def scenario() -> None:
        place.write("lab.yaml", "instances: {red: {mtu: 1400}}")
        async with place.confd() as reload, pubsub.connect(place.run, agent="test") as bus:
            await become(lambda: sequence(bus, "NetworkInstanceConfig"), 1)
            place.write("lab.yaml", "# only a comment is new\ninstances: {red: {mtu: 1400}}")
            reload.set()
            place.write("zzz.yaml", "wrong: 1")  # the proof that the file above was read
            await become(lambda: sequence(bus, "ConfigProblem"), 1)
            assert await sequence(bus, "NetworkInstanceConfig") == 1

    with place.hub():
        asyncio.run(scenario())


def test_a_reload_waits_for_no_look(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confd, "POLL_INTERVAL", NEVER)

    async def scenario() -> None:
        async with place.confd() as reload, pubsub.connect(place.run, agent="test") as bus:
            place.write("a.yaml", "instances: {red: {mtu: 1400}}")
            reload.set()
            await become(lambda: mtus(bus), {"red": 1400})

    with place.hub():
        asyncio.run(scenario())


def test_a_missing_directory_removes_nothing(place: Place) -> None:
    async def scenario() -> None:
        place.write("a.yaml", "instances: {red: {}}")
        async with place.confd(), pubsub.connect(place.run, agent="test") as bus:
            await become(lambda: mtus(bus), {"red": 1500})
            place.config.rename(place.config.with_name("away"))
            await become(lambda: problems(bus), [""])
            assert await mtus(bus) == {"red": 1500}
            place.config.mkdir()
            await until(lambda: _is_empty(bus))

    with place.hub():
        asyncio.run(scenario())
