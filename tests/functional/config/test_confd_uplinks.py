"""Uplinks from files to the supervisor: published by confd, followed from every agent that counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import pubsub
from pubsub import confd
from pubsub.topics import ConfigProblem, NetworkInstanceConfig, UplinkConfig
from supervisor import configs
from supervisor.configs import Configs
from tests.functional.config.test_confd import Place, become

NO_UPLINKS: dict[str, int] = {}
NOTHING_WRONG: list[tuple[str, str, str]] = []  # field, instance, uplink


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def costs(bus: pubsub.Bus) -> dict[str, int]:
    return {name: config.cost for name, config in (await bus.table(UplinkConfig, agent=confd.AGENT)).items()}


async def problems(bus: pubsub.Bus) -> list[tuple[str, str, str]]:
    table = await bus.table(ConfigProblem, agent=confd.AGENT)
    return [(problem.field, problem.instance, problem.uplink) for problem in table.values()]


@contextlib.asynccontextmanager
async def followed(bus: pubsub.Bus) -> AsyncIterator[Configs]:
    """Follow what the supervisor follows."""
    found = Configs()
    task = asyncio.create_task(configs.follow(bus, found, lambda: None))
    try:
        yield found
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def known(seen: Configs) -> tuple[bool, dict[str, int]]:
    return seen.complete, {name: config.cost for name, config in seen.uplinks.items()}


async def complaints(seen: Configs, ifname: str) -> list[str]:
    return [words.partition("a.yaml")[2] or words for words in seen.uplink_complaints(ifname)]


def test_uplinks_are_published_and_followed(place: Place) -> None:
    async def scenario() -> None:
        place.write("a.yaml", "uplinks: {eth0: {cost: 1}}\n")
        async with place.confd(), pubsub.connect(place.run, agent="test") as bus:
            await become(lambda: costs(bus), {"eth0": 1})
            place.write("b.yaml", "uplinks: {eth1: {cost: 2}, eth0: {cost: 9}}")
            await become(lambda: costs(bus), {"eth0": 1, "eth1": 2})
            await become(lambda: problems(bus), [("uplinks.eth0", "", "eth0")])
            (place.config / "a.yaml").unlink()
            await become(lambda: costs(bus), {"eth0": 9, "eth1": 2})
            await become(lambda: problems(bus), NOTHING_WRONG)
            place.write("b.yaml", "")
            await become(lambda: costs(bus), NO_UPLINKS)

    with place.hub():
        asyncio.run(scenario())


def test_a_broken_uplink_keeps_its_last_good_config_over_a_restart_of_all(place: Place) -> None:
    async def first() -> None:
        place.write("a.yaml", "uplinks: {eth0: {cost: 1}, eth1: {cost: 1}}")
        async with place.confd(), pubsub.connect(place.run, agent="test") as bus:
            await become(lambda: costs(bus), {"eth0": 1, "eth1": 1})

    async def again(wanted: dict[str, int], wrong: tuple[str, str, str]) -> None:
        async with place.confd(), pubsub.connect(place.run, agent="test") as bus:
            await become(lambda: problems(bus), [wrong])
            assert await costs(bus) == wanted

    with place.hub():
        asyncio.run(first())
    place.write("a.yaml", "uplinks: {eth0: {cost: 256}, eth1: {cost: 2}}")
    with place.hub():
        asyncio.run(again({"eth0": 1, "eth1": 2}, ("uplinks.eth0.cost", "", "eth0")))
    place.write("a.yaml", "uplinks: {")
    with place.hub():
        asyncio.run(again({"eth0": 1, "eth1": 2}, ("", "", "")))


def test_the_supervisor_merges_the_uplinks_of_all_agents_by_precedence(place: Place) -> None:
    async def scenario() -> None:
        place.write("a.yaml", "settings: {config_from: [confd, cloud]}\nuplinks: {eth0: {cost: 1}}")
        async with (
            place.confd(),
            pubsub.connect(place.run, agent="cloud") as cloud,
            pubsub.connect(place.run, agent="test") as bus,
            followed(bus) as seen,
        ):
            await become(lambda: known(seen), (True, {"eth0": 1}))
            table = await cloud.publish(UplinkConfig, initial={"eth0": UplinkConfig(cost=9)})
            table["eth1"] = UplinkConfig(cost=2)
            await become(lambda: known(seen), (True, {"eth0": 1, "eth1": 2}))
            table["eth1"] = UplinkConfig(cost=256)  # not by the rules
            table["eth2"] = UplinkConfig(cost=3)
            await become(lambda: known(seen), (True, {"eth0": 1, "eth1": 2, "eth2": 3}))
            wrong = "agent cloud: cost: a cost of 256 is not possible; use 0 to 255; the cheapest uplink wins"
            await become(lambda: complaints(seen, "eth1"), [wrong])
            assert seen.uplink_complaints("eth2") == []
            place.write("a.yaml", "settings: {config_from: [confd]}\nuplinks: {eth0: {cost: 1}}")
            await become(lambda: known(seen), (True, {"eth0": 1}))
            assert seen.uplink_complaints("eth1") == []

    with place.hub():
        asyncio.run(scenario())


def test_the_supervisor_hears_what_is_wrong_with_an_uplink(place: Place) -> None:
    async def scenario() -> None:
        place.write("a.yaml", "uplinks:\n  eth0: {cost: 256}\n  eth0.100: {labels: [all]}\n")
        async with place.confd(), pubsub.connect(place.run, agent="test") as bus, followed(bus) as seen:
            cost = ":2: uplinks.eth0.cost: a cost of 256 is not possible; use 0 to 255; the cheapest uplink wins"
            await become(lambda: complaints(seen, "eth0"), [cost])
            [label] = await complaints(seen, "eth0.100")
            assert ":3: uplinks.eth0.100.labels.0: 'all' stands for every uplink" in label
            assert seen.complained == set()
            assert seen.uplinks == {}

    with place.hub():
        asyncio.run(scenario())


def test_nothing_is_complete_before_the_uplinks_are_known() -> None:
    seen = Configs()
    seen.synchronized = {"settings", "problems", "confd/NetworkInstanceConfig"}
    assert not seen.complete
    seen.synchronized.add(f"confd/{UplinkConfig.__name__}")
    assert seen.complete
    seen.settings = type(seen.settings)(config_from=("confd", "cloud"))
    assert not seen.complete
    assert configs.table_of(NetworkInstanceConfig, "cloud") == "cloud/NetworkInstanceConfig"
