"""Edits config files as text, so that comments stay: takes one instance out of a file, or makes a file of one.

Every edit is read back; where it isn't what was meant (flow style, anchors of other places), the nodes are written
anew, without comments.
"""

from __future__ import annotations

import dataclasses
import functools

import yaml

from pubsub.codec import to_plain
from pubsub.config.document import Node, is_null, parse
from pubsub.config.merge import read_files
from pubsub.topics import NetworkInstanceConfig

INDENT = "  "
INSTANCES = "instances"


@dataclasses.dataclass(frozen=True)
class Block:
    """The lines of one instance in block style: with the comments right above it, without the next one's."""

    first: int  # 0-based
    last: int  # exclusive
    indent: int  # of its key


def blocks(data: bytes) -> dict[str, Block]:
    """Return where each instance stands, as far as it has lines of its own."""
    lines = _lines(data)
    found: dict[str, Block] = {}
    for document in parse(data):
        for node in _instance_nodes(document):
            if node.flow_style:
                continue
            starts = [key.start_mark.line for key, _ in node.value]
            ends = [*starts[1:], _end_line(node, lines)]
            for (key, _), start, end in zip(node.value, starts, ends, strict=True):
                indent = key.start_mark.column
                first, last = _with_comments(lines, start, indent), _without_comments(lines, start, end, indent)
                found.setdefault(key.value, Block(first, last, indent))
    return found


def file_of(name: str, config: NetworkInstanceConfig, data: bytes, block: Block | None, *, check: bool = True) -> str:
    """Return the text of a file that defines just this instance: its own words where that is possible.

    Without `check` it isn't read back: enough to see whether such a file is there already.
    """
    if block is not None:
        lines = _lines(data)[block.first : block.last]
        kept = [INDENT + line[block.indent :] if line.strip() else "" for line in lines]
        text = "\n".join([f"{INSTANCES}:", *kept]).rstrip() + "\n"
        if not check or defines(text, name, config):
            return text
    plain = {INSTANCES: {name: to_plain(config, sparse=True)}}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)


def defines(text: str, name: str, config: NetworkInstanceConfig) -> bool:
    """Tell whether a file's text defines this instance so, and nothing else."""
    found = read_files({"": text.encode()})
    here = {other: defined.config for other, defined in found.instances.items()}
    return not found.problems and here == {name: config}


def without(data: bytes, name: str) -> str | None:
    """Return a file's text without one instance; None when nothing is left in it. Raises KeyError."""
    before = names(data)
    if name not in before:
        raise KeyError(name)
    documents = parse(data)
    if before == {name} and all(_only_instances(document) for document in documents):
        return None
    block = blocks(data).get(name)
    if block is not None:
        lines = _lines(data)
        text = "\n".join([*lines[: block.first], *lines[block.last :]]) + "\n"
        if names(text.encode()) == before - {name}:
            return text
    for document in documents:
        for node in _instance_nodes(document):
            node.value = [(key, value) for key, value in node.value if key.value != name]
    return "---\n".join(yaml.serialize(document, allow_unicode=True) for document in documents)


def names(data: bytes) -> set[str]:
    """Return the instances that a file defines, right or wrong; none when it is no YAML."""
    try:
        documents = parse(data)
    except ValueError:
        return set()
    return {key.value for document in documents for node in _instance_nodes(document) for key, _ in node.value}


def _instance_nodes(document: Node) -> list[yaml.MappingNode]:
    if not isinstance(document, yaml.MappingNode):
        return []
    return [
        value
        for key, value in document.value
        if key.value == INSTANCES and isinstance(value, yaml.MappingNode) and value.value
    ]


def _only_instances(document: Node) -> bool:
    return isinstance(document, yaml.MappingNode) and all(
        key.value == INSTANCES or is_null(value) for key, value in document.value
    )


@functools.lru_cache(maxsize=1)
def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8-sig").splitlines()


def _end_line(node: yaml.MappingNode, lines: list[str]) -> int:
    mark = node.end_mark
    return len(lines) if mark.line >= len(lines) else mark.line + (1 if mark.column else 0)


def _with_comments(lines: list[str], start: int, indent: int) -> int:
    while start > 0 and lines[start - 1].lstrip().startswith("#") and _indent(lines[start - 1]) == indent:
        start -= 1
    return start


def _without_comments(lines: list[str], start: int, end: int, indent: int) -> int:
    while end > start + 1 and (
        not lines[end - 1].strip() or (lines[end - 1].lstrip().startswith("#") and _indent(lines[end - 1]) <= indent)
    ):
        end -= 1
    return end


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
