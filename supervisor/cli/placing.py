"""Decides which files of the config directory an `apply` or a `delete` writes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec
import yaml

from pubsub.codec import to_plain
from pubsub.config.document import parse
from pubsub.config.merge import INSTANCES, SETTINGS, UPLINKS, Configuration, read_files
from pubsub.topics import ConfigProblem, NetworkInstanceConfig, SupervisorSettings, UplinkConfig
from supervisor.cli import edit

SETTINGS_FILE = "settings.yaml"
FILE_PREFIXES = {INSTANCES: "", UPLINKS: "uplink."}  # of the file of one entry; no instance's name has a dot
NOUNS = {INSTANCES: "instance", UPLINKS: "uplink"}

Files = Mapping[str, bytes | OSError]  # by path


class ElsewhereError(ValueError):
    """An instance or an uplink stands in a file that `apply` must not touch."""


class InvalidError(ValueError):
    """The configuration as it would become is wrong."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__("invalid configuration")
        self.problems = problems


class Step(msgspec.Struct, frozen=True):
    """What becomes of one instance or uplink."""

    name: str
    action: str  # created, changed, unchanged, deleted
    config: NetworkInstanceConfig | UplinkConfig | None
    path: Path
    text: str | None  # of the file; None: to be deleted
    section: str = INSTANCES

    @property
    def title(self) -> str:
        """What people are told: an instance's name, or `uplink/IFNAME`."""
        return self.name if self.section == INSTANCES else f"{NOUNS[self.section]}/{self.name}"


def read_applied(files: Files) -> Configuration:
    """Read what is to be applied. Raises InvalidError with all that is wrong."""
    found = read_files(files)
    if found.problems:
        raise InvalidError(found.problems)
    return found


def place(applied: Configuration, sources: Files, existing: Files, directory: Path) -> list[Step]:
    """Return the steps that bring the applied uplinks and instances into the directory, one file each.

    Raises ElsewhereError when one stands in another file, and InvalidError when it collides with what is there.
    """
    steps = []
    where: dict[tuple[str, str], dict[str, edit.Block]] = {}
    for section, name, file, config in _entries(applied):
        source = sources[file]
        assert isinstance(source, bytes)  # else it had been a problem
        if file in existing:
            steps.append(Step(name, "unchanged", config, Path(file), None, section))
            continue
        if (file, section) not in where:
            where[file, section] = edit.blocks(source, section)
        path = directory / f"{FILE_PREFIXES[section]}{name}.yaml"
        block = where[file, section].get(name)
        text = edit.file_of(name, config, source, block, section=section, check=False)
        if existing.get(str(path)) == text.encode():
            steps.append(Step(name, "unchanged", config, path, text, section))
            continue
        text = edit.file_of(name, config, source, block, section=section)
        steps.append(Step(name, "created", config, path, text, section))
    if all(step.action == "unchanged" and step.text is not None for step in steps):
        return steps
    return _against_existing(steps, existing)


def _entries(found: Configuration) -> Iterator[tuple[str, str, str, NetworkInstanceConfig | UplinkConfig]]:
    """Yield section, name, file and config of all that is valid; uplinks first, since instances name them."""
    for name, uplink in found.uplinks.items():
        yield UPLINKS, name, uplink.file, uplink.config
    for name, instance in found.instances.items():
        yield INSTANCES, name, instance.file, instance.config


def place_settings(applied: Configuration, sources: Files, existing: Files, directory: Path) -> tuple[Path, str] | None:
    """Return the file of the settings that are applied; None when none are, or they stand there already."""
    if not any(_has_settings(content) for content in sources.values()) or any(file in existing for file in sources):
        return None
    path = directory / SETTINGS_FILE
    for file, content in existing.items():
        if file != str(path) and _has_settings(content):
            raise ElsewhereError(f"settings stand in {file}; edit that file: nsvisord follows it")
    settings = applied.settings or SupervisorSettings()
    text = yaml.safe_dump({SETTINGS: to_plain(settings, sparse=True)}, sort_keys=False)
    return None if existing.get(str(path)) == text.encode() else (path, text)


def _against_existing(steps: list[Step], existing: Files) -> list[Step]:
    now = read_files(existing)
    known = {(section, name): (file, config) for section, name, file, config in _entries(now)}
    broken = {(INSTANCES, name): file for name, file in now.broken.items()}
    broken |= {(UPLINKS, name): file for name, file in now.broken_uplinks.items()}
    found = []
    for step in steps:
        file, config = known.get((step.section, step.name), (broken.get((step.section, step.name)), None))
        said = f"{NOUNS[step.section]} {step.name} stands in {file}"
        if file is not None and file != str(step.path):
            raise ElsewhereError(f"{said}; edit that file: nsvisord follows it")
        there = existing.get(str(step.path))
        if (
            step.action != "unchanged"
            and isinstance(there, bytes)
            and not edit.has_only(there, step.name, step.section)
        ):
            said = f"{said}, with others" if file else f"{step.path} holds something else"
            raise ElsewhereError(f"{said}; edit that file: nsvisord follows it")
        if step.action != "unchanged" and file is not None:
            found.append(msgspec.structs.replace(step, action="unchanged" if config == step.config else "changed"))
        else:
            found.append(step)
    after = {**existing, **{str(step.path): step.text.encode() for step in found if step.text is not None}}
    mine = {(step.section, step.name) for step in found}
    wrong = tuple(
        problem
        for problem in read_files(after, now.instances, uplinks_in_force=now.uplinks).problems
        if (INSTANCES, problem.instance) in mine or (UPLINKS, problem.uplink) in mine
    )
    if wrong:
        raise InvalidError(wrong)
    return found


def remove(names: list[str], existing: Files, uplinks: Collection[str] = ()) -> list[Step]:
    """Return the steps that take instances and uplinks out of all files, the last one of a file with its final text.

    Raises KeyError with the noun and name of one that no file defines.
    """
    contents = {file: content for file, content in existing.items() if isinstance(content, bytes)}
    steps = []
    for section, name in [*((INSTANCES, name) for name in names), *((UPLINKS, name) for name in uplinks)]:
        files = [file for file in sorted(contents) if name in edit.names(contents[file], section)]
        if not files:
            raise KeyError(f"{NOUNS[section]} {name}")
        for file in files:
            text = edit.without(contents[file], name, section)
            contents[file] = (text or "").encode()
            steps.append(Step(name, "deleted", None, Path(file), text, section))
    return steps


def _has_settings(content: bytes | OSError) -> bool:
    if isinstance(content, OSError) or SETTINGS.encode() not in content:
        return False
    try:
        documents = parse(content)
    except ValueError:
        return False
    return any(
        isinstance(document, yaml.MappingNode) and any(key.value == SETTINGS for key, _ in document.value)
        for document in documents
    )
