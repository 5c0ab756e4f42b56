"""Merges the files of a config directory, and decides which instances keep what was in force before."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from pubsub.config.convert import BROKEN, Converter, Path, Place
from pubsub.config.document import DocumentError, Node, line_of, parse, quote
from pubsub.config.rules import Finding, validate, validate_all, validate_settings
from pubsub.topics import ConfigProblem, NetworkInstanceConfig, SupervisorSettings

CONFIG_SUFFIXES = (".yaml", ".yml")
TOP_KEYS = ("instances", "settings")
EXTENSION_PREFIX = "x-"  # top keys for anchors and notes, as in Compose files


@dataclasses.dataclass(frozen=True)
class Defined:
    """A valid instance, and where it stands."""

    file: str
    line: int
    config: NetworkInstanceConfig


@dataclasses.dataclass(frozen=True)
class Configuration:
    """All that a set of files says. Made by `read_files`."""

    instances: Mapping[str, Defined]  # what is valid
    broken: Mapping[str, str]  # name -> file of what is written, but wrong: its last good config stays in force
    settings: SupervisorSettings | None  # None: written, but wrong
    problems: tuple[ConfigProblem, ...]
    doubtful: frozenset[str]  # files and folders that can't be read: what came from them stays in force

    def effective(self, in_force: Mapping[str, Defined]) -> dict[str, Defined]:
        """Return what counts now: the valid ones, and of the others what was in force."""
        kept = {
            name: old
            for name, old in in_force.items()
            if name in self.broken or (name not in self.instances and is_doubtful(old.file, self.doubtful))
        }
        return {**kept, **self.instances}


@dataclasses.dataclass
class _Merging:
    """The state of one `read_files`."""

    problems: list[ConfigProblem] = dataclasses.field(default_factory=list)
    readers: dict[str, Converter] = dataclasses.field(default_factory=dict)  # of the first definition of each name
    instances: dict[str, Defined] = dataclasses.field(default_factory=dict)
    broken: dict[str, str] = dataclasses.field(default_factory=dict)
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
    in_force: Mapping[str, Defined] | None = None,
    settings_in_force: SupervisorSettings | None = None,
) -> Configuration:
    """Read the files (name -> content, or why it can't be read) as one configuration.

    Of two files that define one instance the first by name counts. Where two instances can't both have something,
    the one whose config is in force unchanged keeps it.
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
    _check_each(merging, settings_in_force)
    _check_together(merging, in_force or {})
    problems = sorted(merging.problems, key=lambda problem: (problem.file, problem.line, problem.field))
    return Configuration(
        instances=merging.instances,
        broken=merging.broken,
        settings=merging.settings,
        problems=tuple(problems),
        doubtful=frozenset(merging.doubtful),
    )


def is_doubtful(file: str, doubtful: Collection[str]) -> bool:
    """Tell whether a file, or the folder around it, is among those that can't be read."""
    return file in doubtful or file.rpartition("/")[0] in doubtful


def _read_document(merging: _Merging, file: str, document: Node) -> None:
    top = Converter(file, "")
    entries = top.mapping(document, (), Place(line_of(document), quote(document)))
    for key, value in entries or ():
        if key.value == "instances":
            _read_instances(merging, top, file, value)
        elif key.value == "settings":
            _read_settings(merging, file, value, line_of(key))
        elif not key.value.startswith(EXTENSION_PREFIX):
            top.unknown_key((), key, value, TOP_KEYS)
    if top.problems:
        merging.doubtful.add(file)
        merging.problems.extend(top.problems)


def _read_instances(merging: _Merging, top: Converter, file: str, node: Node) -> None:
    entries = top.mapping(node, ("instances",), Place(line_of(node), quote(node)))
    for key, value in entries or ():
        name, line = key.value, line_of(key)
        path = ("instances", name)
        if name in merging.readers:
            first = merging.readers[name].place(path)
            reader = Converter(file, name)
            said = f"instance {name!r} is already defined in {merging.readers[name].file}, line {first.line}"
            reader.problem(path, Place(line, ""), said, "remove one of the two; the first one counts")
            merging.problems.extend(reader.problems)
            continue
        reader = merging.readers[name] = Converter(file, name)
        config = reader.convert(value, NetworkInstanceConfig, path, line)
        merging.problems.extend(reader.problems)
        if config is BROKEN:
            merging.broken[name] = file
        else:
            merging.instances[name] = Defined(file, line, config)


def _read_settings(merging: _Merging, file: str, node: Node, line: int) -> None:
    reader = Converter(file, "")
    if merging.settings_place is not None:
        first_file, first_line = merging.settings_place
        said = f"settings are already in {first_file}, line {first_line}"
        reader.problem(("settings",), Place(line, ""), said, "put all settings into one file; the first one counts")
        merging.problems.extend(reader.problems)
        return
    merging.settings_place = (file, line)
    settings = reader.convert(node, SupervisorSettings, ("settings",), line)
    if settings is not BROKEN:
        for finding in validate_settings(settings):
            path = ("settings", *finding.path)
            reader.problem(path, reader.place(path), finding.message, finding.remedy)
    merging.problems.extend(reader.problems)
    merging.settings = None if reader.problems else settings


def _check_each(merging: _Merging, settings_in_force: SupervisorSettings | None) -> None:
    settings = merging.settings or settings_in_force or SupervisorSettings()
    for name, defined in list(merging.instances.items()):
        _reject(merging, validate(name, defined.config, settings))


def _check_together(merging: _Merging, in_force: Mapping[str, Defined]) -> None:
    """Reject what collides, until nothing does: a rejected one falls back to what was in force, which counts first."""
    while True:
        fallen = {
            name: in_force[name].config
            for name in in_force
            if name in merging.broken
            or (name not in merging.instances and is_doubtful(in_force[name].file, merging.doubtful))
        }
        valid = {name: defined.config for name, defined in merging.instances.items()}
        unchanged = {name: config for name, config in valid.items() if _unchanged(name, config, in_force)}
        findings = validate_all({**fallen, **unchanged, **valid})
        if not _reject(merging, tuple(finding for finding in findings if finding.instance in valid)):
            return


def _unchanged(name: str, config: NetworkInstanceConfig, in_force: Mapping[str, Defined]) -> bool:
    return name in in_force and in_force[name].config == config


def _reject(merging: _Merging, findings: tuple[Finding, ...]) -> bool:
    for finding in findings:
        name = finding.instance
        reader = Converter(merging.readers[name].file, name)
        path: Path = ("instances", name, *finding.path)
        reader.problem(path, merging.readers[name].place(path), finding.message, finding.remedy)
        merging.problems.extend(reader.problems)
        if name in merging.instances:
            merging.broken[name] = merging.instances.pop(name).file
    return bool(findings)
