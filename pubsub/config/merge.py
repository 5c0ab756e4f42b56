"""Merges the files of a config directory, and decides which entries keep what was in force before."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Generic, TypeVar

import msgspec

from pubsub.config.convert import BROKEN, Converter, Path, Place
from pubsub.config.document import DocumentError, Node, line_of, parse, quote
from pubsub.config.rules import validate, validate_all
from pubsub.config.rules_settings import validate_settings
from pubsub.config.rules_uplinks import validate_uplink
from pubsub.config.rules_words import Finding
from pubsub.topics import ConfigProblem, NetworkInstanceConfig, SupervisorSettings, UplinkConfig

CONFIG_SUFFIXES = (".yaml", ".yml")
INSTANCES, UPLINKS, SETTINGS = TOP_KEYS = ("instances", "uplinks", "settings")
EXTENSION_PREFIX = "x-"  # top keys for anchors and notes, as in Compose files

C = TypeVar("C", NetworkInstanceConfig, UplinkConfig)


class Defined(msgspec.Struct, Generic[C], frozen=True):
    """A valid instance or uplink, and where it stands."""

    file: str
    line: int
    config: C


DefinedInstances = Mapping[str, Defined[NetworkInstanceConfig]]
DefinedUplinks = Mapping[str, Defined[UplinkConfig]]


class Configuration(msgspec.Struct, frozen=True):
    """All that a set of files says. Made by `read_files`."""

    instances: DefinedInstances  # what is valid
    broken: Mapping[str, str]  # name -> file of what is written, but wrong: its last good config stays in force
    uplinks: DefinedUplinks
    broken_uplinks: Mapping[str, str]
    settings: SupervisorSettings | None  # None: written, but wrong
    problems: tuple[ConfigProblem, ...]
    doubtful: frozenset[str]  # files and folders that can't be read: what came from them stays in force

    def effective(self, in_force: DefinedInstances) -> dict[str, Defined[NetworkInstanceConfig]]:
        """Return the instances that count now: the valid ones, and of the others what was in force."""
        return {**_kept(in_force, self.instances, self.broken, self.doubtful), **self.instances}

    def effective_uplinks(self, in_force: DefinedUplinks) -> dict[str, Defined[UplinkConfig]]:
        """Return the uplinks that count now, likewise."""
        return {**_kept(in_force, self.uplinks, self.broken_uplinks, self.doubtful), **self.uplinks}


@dataclasses.dataclass
class _Section(Generic[C]):
    """The entries of one top-level key, over all files."""

    key: str
    noun: str  # of an entry, in messages
    type: type[C]
    readers: dict[str, Converter] = dataclasses.field(default_factory=dict)  # of the first definition of each name
    valid: dict[str, Defined[C]] = dataclasses.field(default_factory=dict)
    broken: dict[str, str] = dataclasses.field(default_factory=dict)

    def reader(self, file: str, name: str) -> Converter:
        """Return who reads one entry."""
        return Converter(file, instance=name) if self.key == INSTANCES else Converter(file, uplink=name)


def _instance_section() -> _Section[NetworkInstanceConfig]:
    return _Section(INSTANCES, "instance", NetworkInstanceConfig)


def _uplink_section() -> _Section[UplinkConfig]:
    return _Section(UPLINKS, "uplink", UplinkConfig)


@dataclasses.dataclass
class _Merging:
    """The state of one `read_files`."""

    problems: list[ConfigProblem] = dataclasses.field(default_factory=list)
    instances: _Section[NetworkInstanceConfig] = dataclasses.field(default_factory=_instance_section)
    uplinks: _Section[UplinkConfig] = dataclasses.field(default_factory=_uplink_section)
    settings: SupervisorSettings | None = dataclasses.field(default_factory=SupervisorSettings)
    settings_place: tuple[str, int] | None = None
    doubtful: set[str] = dataclasses.field(default_factory=set)

    def doubt(self, file: str, line: int, message: str, remedy: str) -> None:
        """Note a problem that concerns a file as a whole."""
        self.doubtful.add(file)
        self.problems.append(
            ConfigProblem(file=file, line=line, instance="", field="", value="", message=message, remedy=remedy)
        )


def read_files(
    files: Mapping[str, bytes | OSError],
    in_force: DefinedInstances | None = None,
    settings_in_force: SupervisorSettings | None = None,
    uplinks_in_force: DefinedUplinks | None = None,
) -> Configuration:
    """Read the files (name -> content, or why it can't be read) as one configuration.

    Of two files that define one instance (or uplink) the first by name counts. Where two instances can't both have
    something, the one whose config is in force unchanged keeps it.
    """
    merging = _Merging()
    for file in sorted(files):
        content = files[file]
        if isinstance(content, OSError):
            merging.doubt(file, 0, f"can't be read: {content.strerror}", "look at the file's owner and mode")
            continue
        try:
            documents = parse(content)
        except DocumentError as exc:
            merging.doubt(file, exc.line, exc.message, exc.remedy)
            continue
        for document in documents:
            _read_document(merging, file, document)
    settings = merging.settings or settings_in_force or SupervisorSettings()
    _check_each(merging, settings)
    _check_together(merging, in_force or {}, _known_uplinks(merging, settings, uplinks_in_force or {}))
    problems = sorted(merging.problems, key=lambda problem: (problem.file, problem.line, problem.field))
    return Configuration(
        instances=merging.instances.valid,
        broken=merging.instances.broken,
        uplinks=merging.uplinks.valid,
        broken_uplinks=merging.uplinks.broken,
        settings=merging.settings,
        problems=tuple(problems),
        doubtful=frozenset(merging.doubtful),
    )


def is_doubtful(file: str, doubtful: Collection[str]) -> bool:
    """Tell whether a file, or the folder around it, is among those that can't be read."""
    return file in doubtful or file.rpartition("/")[0] in doubtful


def _kept(
    in_force: Mapping[str, Defined[C]],
    valid: Mapping[str, Defined[C]],
    broken: Collection[str],
    doubtful: Collection[str],
) -> dict[str, Defined[C]]:
    """Return what stays in force for want of something valid."""
    return {
        name: old
        for name, old in in_force.items()
        if name in broken or (name not in valid and is_doubtful(old.file, doubtful))
    }


def _read_document(merging: _Merging, file: str, document: Node) -> None:
    top = Converter(file)
    entries = top.mapping(document, (), Place(line_of(document), quote(document)))
    for key, value in entries or ():
        if key.value == INSTANCES:
            _read_section(merging, merging.instances, top, file, value)
        elif key.value == UPLINKS:
            _read_section(merging, merging.uplinks, top, file, value)
        elif key.value == SETTINGS:
            _read_settings(merging, file, value, line_of(key))
        elif not key.value.startswith(EXTENSION_PREFIX):
            top.unknown_key((), key, value, TOP_KEYS)
    if top.problems:
        merging.doubtful.add(file)
        merging.problems.extend(top.problems)


def _read_section(merging: _Merging, section: _Section[C], top: Converter, file: str, node: Node) -> None:
    entries = top.mapping(node, (section.key,), Place(line_of(node), quote(node)))
    for key, value in entries or ():
        name, line = key.value, line_of(key)
        path = (section.key, name)
        reader = section.reader(file, name)
        if name in section.readers:
            first = section.readers[name]
            said = f"{section.noun} {name!r} is already defined in {first.file}, line {first.place(path).line}"
            reader.problem(path, Place(line, ""), said, "remove one of the two; the first one counts")
            merging.problems.extend(reader.problems)
            continue
        section.readers[name] = reader
        config = reader.convert(value, section.type, path, line)
        merging.problems.extend(reader.problems)
        if config is BROKEN:
            section.broken[name] = file
        else:
            section.valid[name] = Defined(file, line, config)


def _read_settings(merging: _Merging, file: str, node: Node, line: int) -> None:
    reader = Converter(file)
    if merging.settings_place is not None:
        first_file, first_line = merging.settings_place
        said = f"settings are already in {first_file}, line {first_line}"
        reader.problem((SETTINGS,), Place(line, ""), said, "put all settings into one file; the first one counts")
        merging.problems.extend(reader.problems)
        return
    merging.settings_place = (file, line)
    settings = reader.convert(node, SupervisorSettings, (SETTINGS,), line)
    if settings is not BROKEN:
        for finding in validate_settings(settings):
            path = (SETTINGS, *finding.path)
            reader.problem(path, reader.place(path), finding.message, finding.remedy)
    merging.problems.extend(reader.problems)
    merging.settings = None if reader.problems else settings


def _check_each(merging: _Merging, settings: SupervisorSettings) -> None:
    for name, uplink in list(merging.uplinks.valid.items()):
        _reject(merging, merging.uplinks, validate_uplink(name, uplink.config))
    for name, instance in list(merging.instances.valid.items()):
        _reject(merging, merging.instances, validate(name, instance.config, settings))


def _known_uplinks(
    merging: _Merging, settings: SupervisorSettings, in_force: DefinedUplinks
) -> dict[str, UplinkConfig] | None:
    """Return the uplinks whose labels instances may mean; None where other agents may define some too."""
    if len(settings.config_from) > 1:
        return None
    section = merging.uplinks
    kept = _kept(in_force, section.valid, section.broken, merging.doubtful)
    return {name: defined.config for name, defined in {**kept, **section.valid}.items()}


def _check_together(merging: _Merging, in_force: DefinedInstances, uplinks: Mapping[str, UplinkConfig] | None) -> None:
    """Reject what collides, until nothing does: a rejected one falls back to what was in force, which counts first."""
    section = merging.instances
    while True:
        kept = _kept(in_force, section.valid, section.broken, merging.doubtful)
        fallen = {name: defined.config for name, defined in kept.items()}
        valid = {name: defined.config for name, defined in section.valid.items()}
        unchanged = {name: config for name, config in valid.items() if _unchanged(name, config, in_force)}
        findings = validate_all({**fallen, **unchanged, **valid}, uplinks)
        mine = tuple(finding for finding in findings if finding.name in valid)
        if not _reject(merging, section, mine):
            return


def _unchanged(name: str, config: NetworkInstanceConfig, in_force: DefinedInstances) -> bool:
    return name in in_force and in_force[name].config == config


def _reject(merging: _Merging, section: _Section[C], findings: tuple[Finding, ...]) -> bool:
    for finding in findings:
        name, path = finding.name, _path(section.key, finding)
        reader = section.reader(section.readers[name].file, name)
        reader.problem(path, section.readers[name].place(path), finding.message, finding.remedy)
        merging.problems.extend(reader.problems)
        if name in section.valid:
            section.broken[name] = section.valid.pop(name).file
    return bool(findings)


def _path(key: str, finding: Finding) -> Path:
    return (key, finding.name, *finding.path)
