"""Which instances and uplinks are wanted now: the tables that the settings name, merged by precedence."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TypeVar

import pubsub
from pubsub.config import Finding, validate, validate_uplink
from pubsub.topics import ConfigProblem, NetworkInstanceConfig, SupervisorSettings, UplinkConfig

C = TypeVar("C", NetworkInstanceConfig, UplinkConfig)


@dataclasses.dataclass
class Configs:
    """The tables as they came; `complete` when each was received whole once."""

    settings: SupervisorSettings = dataclasses.field(default_factory=SupervisorSettings)
    tables: dict[str, dict[str, NetworkInstanceConfig]] = dataclasses.field(default_factory=dict)  # by agent
    uplink_tables: dict[str, dict[str, UplinkConfig]] = dataclasses.field(default_factory=dict)
    problems: dict[str, ConfigProblem] = dataclasses.field(default_factory=dict)
    synchronized: set[str] = dataclasses.field(default_factory=set)  # `settings`, `problems`, tables as `confd/X`
    refused: dict[str, dict[str, list[str]]] = dataclasses.field(default_factory=dict)  # by agent and name: why
    refused_uplinks: dict[str, dict[str, list[str]]] = dataclasses.field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nothing that is missing here may still come."""
        agents = self.settings.config_from
        instances = {table_of(NetworkInstanceConfig, agent) for agent in agents}
        uplinks = {table_of(UplinkConfig, agent) for agent in agents}
        return {"settings", "problems"} | instances | uplinks <= self.synchronized

    @property
    def wanted(self) -> dict[str, NetworkInstanceConfig]:
        """The instances; of a name that two agents claim, the first agent's."""
        return merged(self.tables, self.settings.config_from)

    @property
    def uplinks(self) -> dict[str, UplinkConfig]:
        """The uplinks that have a config, by ifname; of one that two agents configure, the first agent's."""
        return merged(self.uplink_tables, self.settings.config_from)

    @property
    def complained(self) -> set[str]:
        """The instances that something is wrong with in a file, known from elsewhere or not."""
        names = {problem.instance for problem in self.problems.values() if problem.instance}
        return names.union(*self.refused.values())

    def complaints(self, name: str) -> list[str]:
        """What is wrong with an instance's config, in words: in its file, or that two agents claim it."""
        found = [in_words(problem) for _, problem in sorted(self.problems.items()) if problem.instance == name]
        for refused in self.refused.values():
            found += refused.get(name, [])
        claimants = [agent for agent in self.settings.config_from if name in self.tables.get(agent, {})]
        found += [
            f"agent {agent} claims {name} too, which {claimants[0]} has already; rename one of the two"
            for agent in claimants[1:]
        ]
        return found

    def uplink_complaints(self, ifname: str) -> list[str]:
        """What is wrong with an uplink's config, in words: in its file, or as another agent published it."""
        found = [in_words(problem) for _, problem in sorted(self.problems.items()) if problem.uplink == ifname]
        for refused in self.refused_uplinks.values():
            found += refused.get(ifname, [])
        return found


def merged(tables: Mapping[str, Mapping[str, C]], agents: tuple[str, ...]) -> dict[str, C]:
    """Return the entries of all agents; of a name that two have, the first agent's."""
    found: dict[str, C] = {}
    for agent in reversed(agents):
        found.update(tables.get(agent, {}))
    return found


def table_of(topic: type[NetworkInstanceConfig | UplinkConfig], agent: str) -> str:
    """Return the name of an agent's table."""
    return f"{agent}/{topic.__name__}"


def in_words(problem: ConfigProblem) -> str:
    """Return a problem in one line."""
    return f"{problem.file}:{problem.line}: {problem.field}: {problem.message}; {problem.remedy}"


async def follow(bus: pubsub.Bus, configs: Configs, changed: Callable[[], None]) -> None:
    """Keep `configs` as the bus has them, calling `changed` after each change. Runs until cancelled."""
    for agent in tuple(configs.tables):  # where this begins anew: all is told again, and is believed when it is whole
        forget(configs, agent)
    configs.synchronized.clear()
    configs.problems.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(follow_problems(bus, configs, changed))
        followed: dict[str, list[asyncio.Task[None]]] = {}
        async for change in bus.subscribe(SupervisorSettings, agent="confd"):
            match change:
                case pubsub.Created(value=settings) | pubsub.Modified(value=settings):
                    configs.settings = settings
                case pubsub.Deleted():
                    configs.settings = SupervisorSettings()
                case pubsub.Synchronized():
                    configs.synchronized.add("settings")
            agents = configs.settings.config_from
            for agent in followed.keys() - set(agents):
                for task in followed.pop(agent):
                    task.cancel()
                forget(configs, agent)
            for agent in agents:
                if agent not in followed:
                    followed[agent] = [
                        group.create_task(follow_uplinks(bus, agent, configs, changed)),
                        group.create_task(follow_instances(bus, agent, configs, changed)),
                    ]
            changed()


def forget(configs: Configs, agent: str) -> None:
    """Drop all that an agent said."""
    for tables in (configs.tables, configs.uplink_tables, configs.refused, configs.refused_uplinks):
        tables.pop(agent, None)
    configs.synchronized -= {table_of(NetworkInstanceConfig, agent), table_of(UplinkConfig, agent)}


async def follow_instances(bus: pubsub.Bus, agent: str, configs: Configs, changed: Callable[[], None]) -> None:
    """Keep one agent's table of instances. Runs until cancelled."""

    def check(name: str, config: NetworkInstanceConfig) -> tuple[Finding, ...]:
        return validate(name, config, configs.settings)

    followed = follow_table(
        bus,
        NetworkInstanceConfig,
        agent,
        table=configs.tables.setdefault(agent, {}),
        refused=configs.refused.setdefault(agent, {}),
        check=check,
        synchronized=configs.synchronized,
    )
    async for _ in followed:
        changed()


async def follow_uplinks(bus: pubsub.Bus, agent: str, configs: Configs, changed: Callable[[], None]) -> None:
    """Keep one agent's table of uplinks. Runs until cancelled."""
    followed = follow_table(
        bus,
        UplinkConfig,
        agent,
        table=configs.uplink_tables.setdefault(agent, {}),
        refused=configs.refused_uplinks.setdefault(agent, {}),
        check=validate_uplink,
        synchronized=configs.synchronized,
    )
    async for _ in followed:
        changed()


async def follow_table(
    bus: pubsub.Bus,
    topic: type[C],
    agent: str,
    *,
    table: dict[str, C],
    refused: dict[str, list[str]],
    check: Callable[[str, C], tuple[Finding, ...]],
    synchronized: set[str],
) -> AsyncIterator[None]:
    """Keep one table of an agent, and why some of its entries are refused; yields after each change."""
    async for change in bus.subscribe(topic, agent=agent):
        match change:
            case pubsub.Created(key=name, value=config) | pubsub.Modified(key=name, value=config):
                # Files were checked by confd. Nobody else's word is believed either: names become paths and commands.
                findings = check(name, config)
                refused[name] = [f"agent {agent}: {'.'.join(f.path)}: {f.message}; {f.remedy}" for f in findings]
                if not findings:  # else what was good before stays in force
                    table[name] = config
                    del refused[name]
            case pubsub.Deleted(key=name):
                table.pop(name, None)
                refused.pop(name, None)
            case pubsub.Synchronized():
                synchronized.add(table_of(topic, agent))
        yield


async def follow_problems(bus: pubsub.Bus, configs: Configs, changed: Callable[[], None]) -> None:
    """Keep what confd found wrong. Runs until cancelled."""
    async for change in bus.subscribe(ConfigProblem, agent="confd"):
        match change:
            case pubsub.Created(key=key, value=problem) | pubsub.Modified(key=key, value=problem):
                configs.problems[key] = problem
            case pubsub.Deleted(key=key):
                configs.problems.pop(key, None)
            case pubsub.Synchronized():
                configs.synchronized.add("problems")
        changed()
