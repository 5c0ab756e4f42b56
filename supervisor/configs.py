"""Which instances are wanted now: the tables that the settings name, merged by precedence."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import pubsub
from pubsub.config.rules import validate
from pubsub.topics import ConfigProblem, NetworkInstanceConfig, SupervisorSettings


@dataclasses.dataclass
class Configs:
    """The tables as they came; `complete` when each was received whole once."""

    settings: SupervisorSettings = dataclasses.field(default_factory=SupervisorSettings)
    tables: dict[str, dict[str, NetworkInstanceConfig]] = dataclasses.field(default_factory=dict)  # by agent
    problems: dict[str, ConfigProblem] = dataclasses.field(default_factory=dict)
    synchronized: set[str] = dataclasses.field(default_factory=set)
    refused: dict[str, dict[str, list[str]]] = dataclasses.field(default_factory=dict)  # by agent and name: why

    @property
    def complete(self) -> bool:
        """Whether nothing that is missing here may still come."""
        return {"settings", "problems", *self.settings.config_from} <= self.synchronized

    @property
    def wanted(self) -> dict[str, NetworkInstanceConfig]:
        """The instances; of a name that two agents claim, the first agent's."""
        merged: dict[str, NetworkInstanceConfig] = {}
        for agent in reversed(self.settings.config_from):
            merged.update(self.tables.get(agent, {}))
        return merged

    @property
    def complained(self) -> set[str]:
        """The instances that something is wrong with in a file, known from elsewhere or not."""
        names = {problem.instance for problem in self.problems.values() if problem.instance}
        return names.union(*self.refused.values())

    def complaints(self, name: str) -> list[str]:
        """What is wrong with an instance's config, in words: in its file, or that two agents claim it."""
        found = [
            f"{problem.file}:{problem.line}: {problem.field}: {problem.message}; {problem.remedy}"
            for _, problem in sorted(self.problems.items())
            if problem.instance == name
        ]
        for refused in self.refused.values():
            found += refused.get(name, [])
        claimants = [agent for agent in self.settings.config_from if name in self.tables.get(agent, {})]
        found += [
            f"agent {agent} claims {name} too, which {claimants[0]} has already; rename one of the two"
            for agent in claimants[1:]
        ]
        return found


async def follow(bus: pubsub.Bus, configs: Configs, changed: Callable[[], None]) -> None:
    """Keep `configs` as the bus has them, calling `changed` after each change. Runs until cancelled."""
    async with asyncio.TaskGroup() as group:
        group.create_task(follow_problems(bus, configs, changed))
        followed: dict[str, asyncio.Task[None]] = {}
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
                followed.pop(agent).cancel()
                configs.tables.pop(agent, None)
                configs.refused.pop(agent, None)
                configs.synchronized.discard(agent)
            for agent in agents:
                if agent not in followed:
                    followed[agent] = group.create_task(follow_table(bus, agent, configs, changed))
            changed()


async def follow_table(bus: pubsub.Bus, agent: str, configs: Configs, changed: Callable[[], None]) -> None:
    """Keep one agent's table of instances. Runs until cancelled."""
    table = configs.tables.setdefault(agent, {})
    refused = configs.refused.setdefault(agent, {})
    async for change in bus.subscribe(NetworkInstanceConfig, agent=agent):
        match change:
            case pubsub.Created(key=name, value=config) | pubsub.Modified(key=name, value=config):
                # Files were checked by confd. Nobody else's word is believed either: names become paths and commands.
                findings = validate(name, config, configs.settings)
                refused[name] = [f"agent {agent}: {'.'.join(f.path)}: {f.message}; {f.remedy}" for f in findings]
                if not findings:  # else what was good before stays in force
                    table[name] = config
                    del refused[name]
            case pubsub.Deleted(key=name):
                table.pop(name, None)
                refused.pop(name, None)
            case pubsub.Synchronized():
                configs.synchronized.add(agent)
        changed()


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
