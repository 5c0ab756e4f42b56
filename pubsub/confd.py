"""Publishes what the config files say: the agent `confd`, a coroutine within nsvisord.

It starts from what its own tables held, so that a broken instance keeps its last good config, also over a reboot.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

import pubsub
from pubsub.config.directory import Signature, read_directory, signature
from pubsub.config.merge import C, Configuration, Defined, DefinedInstances, DefinedUplinks, read_files
from pubsub.topics import ConfigProblem, Message, NetworkInstanceConfig, SupervisorSettings, UplinkConfig

AGENT = "confd"
SETTINGS_KEY = "settings"
UPLINK_SOURCE = "uplinks/"  # before an uplink's key in ConfigSource: no instance's name has a slash
POLL_INTERVAL = 1.0  # seconds; a look at the names, sizes and times of some files costs less than a millisecond
SETTLE_TIME = 0.1  # seconds without a change before files are read: an editor may write one in several steps

log = logging.getLogger("confd")


class ConfigSource(Message, frozen=True, kw_only=True):
    """Where an instance or an uplink came from: confd's own memory for when that file can't be read.

    The key is the instance's name, or `uplinks/IFNAME`.
    """

    file: str


class InForce(msgspec.Struct, frozen=True):
    """What confd published last."""

    instances: DefinedInstances
    uplinks: DefinedUplinks
    settings: SupervisorSettings
    problems: dict[str, ConfigProblem]


async def follow(
    config_dir: Path, run_dir: Path, reload: asyncio.Event, published: asyncio.Event | None = None
) -> None:
    """Keep the tables equal to the files; `reload` asks for a look at once. Runs until cancelled.

    `published` is set when the tables first say what the files say.
    """
    async with pubsub.connect(run_dir, agent=AGENT) as bus:
        old = await _last_published(bus)
        reload.clear()
        seen = signature(config_dir)
        now = read(config_dir, old)
        settings = await bus.publish(SupervisorSettings, initial={SETTINGS_KEY: now.settings}, persistent=True)
        sources = await bus.publish(ConfigSource, initial=_sources(now), persistent=True)
        # Uplinks come first, so that whoever hears of an instance knows the labels that it names.
        uplinks = await bus.publish(UplinkConfig, initial=_configs(now.uplinks), persistent=True)
        instances = await bus.publish(NetworkInstanceConfig, initial=_configs(now.instances), persistent=True)
        problems = await bus.publish(ConfigProblem, initial=now.problems, persistent=True)
        _log_changes(old, now)
        if published is not None:
            published.set()
        while True:
            last, seen = seen, await _changed(config_dir, seen, reload)
            if seen == last:
                continue  # asked to look, and there is nothing new
            old, now = now, read(config_dir, now)
            settings[SETTINGS_KEY] = now.settings
            sources.replace(_sources(now))
            uplinks.replace(_configs(now.uplinks))
            instances.replace(_configs(now.instances))
            problems.replace(now.problems)
            _log_changes(old, now)


def read(config_dir: Path, before: InForce) -> InForce:
    """Read the files; what is broken in them stays as it was before."""
    found = read_files(read_directory(config_dir), before.instances, before.settings, before.uplinks)
    return in_force(found, before)


def in_force(found: Configuration, before: InForce) -> InForce:
    """Return what counts now, given what the files say and what counted before."""
    return InForce(
        instances=found.effective(before.instances),
        uplinks=found.effective_uplinks(before.uplinks),
        settings=found.settings or before.settings,
        problems={problem_key(problem): problem for problem in found.problems},
    )


def problem_key(problem: ConfigProblem) -> str:
    """Return the key of a problem in its table."""
    return f"{problem.file}:{problem.line}:{problem.field}"


async def _last_published(bus: pubsub.Bus) -> InForce:
    configs = await bus.table(NetworkInstanceConfig, agent=AGENT)
    uplinks = await bus.table(UplinkConfig, agent=AGENT)
    sources = await bus.table(ConfigSource, agent=AGENT)
    settings = await bus.table(SupervisorSettings, agent=AGENT)
    return InForce(
        instances={name: Defined(_file(sources, name), 0, config) for name, config in configs.items()},
        uplinks={name: Defined(_file(sources, UPLINK_SOURCE + name), 0, config) for name, config in uplinks.items()},
        settings=settings.get(SETTINGS_KEY, SupervisorSettings()),
        problems=await bus.table(ConfigProblem, agent=AGENT),
    )


def _file(sources: Mapping[str, ConfigSource], key: str) -> str:
    return sources[key].file if key in sources else ""


async def _changed(config_dir: Path, seen: Signature, reload: asyncio.Event) -> Signature:
    """Return the new signature once files changed and are at rest, or at once when asked to reload."""
    last = seen
    while True:
        now = signature(config_dir)
        if now == last and now != seen:
            return now
        wait = POLL_INTERVAL if now == seen else SETTLE_TIME
        last = now
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reload.wait(), wait)
            reload.clear()
            return signature(config_dir)


def _configs(defined: Mapping[str, Defined[C]]) -> dict[str, C]:
    return {name: one.config for name, one in defined.items()}


def _sources(now: InForce) -> dict[str, ConfigSource]:
    return {
        **{name: ConfigSource(file=defined.file) for name, defined in now.instances.items()},
        **{UPLINK_SOURCE + name: ConfigSource(file=defined.file) for name, defined in now.uplinks.items()},
    }


def _log_changes(old: InForce, now: InForce) -> None:
    """Say once what came, changed and went, and what is wrong."""
    _log_entries("uplink", old.uplinks, now.uplinks)
    _log_entries("instance", old.instances, now.instances)
    for key in sorted(now.problems.keys() - old.problems.keys()):
        problem = now.problems[key]
        log.warning("%s:%d: %s: %s; %s", problem.file, problem.line, problem.field, problem.message, problem.remedy)


def _log_entries(noun: str, old: Mapping[str, Defined[C]], now: Mapping[str, Defined[C]]) -> None:
    for name in sorted(old.keys() | now.keys()):
        was, is_ = old.get(name), now.get(name)
        if was is None and is_ is not None:
            log.info("%s %s: configured in %s", noun, name, is_.file)
        elif was is not None and is_ is None:
            log.info("%s %s: no longer in %s", noun, name, was.file)
        elif was is not None and is_ is not None and was.config != is_.config:
            log.info("%s %s: changed in %s", noun, name, is_.file)
