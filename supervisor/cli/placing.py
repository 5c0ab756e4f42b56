"""Decides which files of the config directory an `apply` or a `delete` writes. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import yaml

from pubsub.codec import to_plain
from pubsub.config.document import parse
from pubsub.config.merge import Configuration, read_files
from pubsub.topics import ConfigProblem, NetworkInstanceConfig, SupervisorSettings
from supervisor.cli import edit

SETTINGS_FILE = "settings.yaml"

Files = Mapping[str, bytes | OSError]  # by path


class ElsewhereError(ValueError):
    """An instance stands in a file that `apply` must not touch."""


class InvalidError(ValueError):
    """The configuration as it would become is wrong."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__("invalid configuration")
        self.problems = problems


@dataclasses.dataclass(frozen=True)
class Step:
    """What becomes of one instance."""

    name: str
    action: str  # created, changed, unchanged, deleted
    config: NetworkInstanceConfig | None
    path: Path
    text: str | None  # of the file; None: to be deleted


def read_applied(files: Files) -> Configuration:
    """Read what is to be applied. Raises InvalidError with all that is wrong."""
    found = read_files(files)
    if found.problems:
        raise InvalidError(found.problems)
    return found


def place(applied: Configuration, sources: Files, existing: Files, directory: Path) -> list[Step]:
    """Return the steps that bring the applied instances into the directory, one file each.

    Raises ElsewhereError when one stands in another file, and InvalidError when it collides with what is there.
    """
    steps = []
    where: dict[str, dict[str, edit.Block]] = {}
    for name, defined in applied.instances.items():
        source = sources[defined.file]
        assert isinstance(source, bytes)  # else it had been a problem
        if defined.file in existing:
            steps.append(Step(name, "unchanged", defined.config, Path(defined.file), None))
            continue
        if defined.file not in where:
            where[defined.file] = edit.blocks(source)
        path = directory / f"{name}.yaml"
        text = edit.file_of(name, defined.config, source, where[defined.file].get(name), check=False)
        if existing.get(str(path)) == text.encode():
            steps.append(Step(name, "unchanged", defined.config, path, text))
            continue
        text = edit.file_of(name, defined.config, source, where[defined.file].get(name))
        steps.append(Step(name, "created", defined.config, path, text))
    if all(step.action == "unchanged" and step.text is not None for step in steps):
        return steps
    return _against_existing(steps, existing)


def place_settings(applied: Configuration, sources: Files, existing: Files, directory: Path) -> tuple[Path, str] | None:
    """Return the file of the settings that are applied; None when none are, or they stand there already."""
    if not any(_has_settings(content) for content in sources.values()) or any(file in existing for file in sources):
        return None
    path = directory / SETTINGS_FILE
    for file, content in existing.items():
        if file != str(path) and _has_settings(content):
            raise ElsewhereError(f"settings stand in {file}; edit that file: nsvisord follows it")
    settings = applied.settings or SupervisorSettings()
    text = yaml.safe_dump({"settings": to_plain(settings, sparse=True)}, sort_keys=False)
    return None if existing.get(str(path)) == text.encode() else (path, text)


def _against_existing(steps: list[Step], existing: Files) -> list[Step]:
    now = read_files(existing)
    found = []
    for step in steps:
        known = now.instances.get(step.name)
        file = known.file if known else now.broken.get(step.name)
        if file is not None and file != str(step.path):
            raise ElsewhereError(f"instance {step.name} stands in {file}; edit that file: nsvisord follows it")
        if step.action != "unchanged" and file is not None:
            content = existing[file]
            if isinstance(content, bytes) and len(edit.names(content)) > 1:
                raise ElsewhereError(
                    f"instance {step.name} stands in {file}, with others; edit that file: nsvisord follows it"
                )
            same = known is not None and known.config == step.config
            found.append(dataclasses.replace(step, action="unchanged" if same else "changed"))
        else:
            found.append(step)
    after = {**existing, **{str(step.path): step.text.encode() for step in found if step.text is not None}}
    problems = read_files(after, now.instances).problems
    mine = {step.name for step in found}
    wrong = tuple(problem for problem in problems if problem.instance in mine)
    if wrong:
        raise InvalidError(wrong)
    return found


def remove(names: list[str], existing: Files) -> list[Step]:
    """Return the steps that take instances out of all files, the last one of a file with its final text.

    Raises KeyError for one that no file defines.
    """
    contents = {file: content for file, content in existing.items() if isinstance(content, bytes)}
    steps = []
    for name in names:
        files = [file for file in sorted(contents) if name in edit.names(contents[file])]
        if not files:
            raise KeyError(name)
        for file in files:
            text = edit.without(contents[file], name)
            contents[file] = (text or "").encode()
            steps.append(Step(name, "deleted", None, Path(file), text))
    return steps


def _has_settings(content: bytes | OSError) -> bool:
    if isinstance(content, OSError) or b"settings" not in content:
        return False
    try:
        documents = parse(content)
    except ValueError:
        return False
    return any(
        isinstance(document, yaml.MappingNode) and any(key.value == "settings" for key, _ in document.value)
        for document in documents
    )
