"""Edits config files as text, so that comments stay: takes one entry out of a file, or makes a file of one.

An entry is an instance or an uplink; its section is the top-level key that it stands below.

Every edit is read back; where it isn't what was meant (flow style, anchors of other places), the nodes are written
anew, without comments.
"""

from __future__ import annotations

import functools

import msgspec
import yaml

from pubsub.codec import to_plain
from pubsub.config.document import Node, is_null, parse
from pubsub.config.merge import INSTANCES, UPLINKS, read_files
from pubsub.topics import NetworkInstanceConfig, UplinkConfig

INDENT = "  "


class Block(msgspec.Struct, frozen=True):
    """The lines of one entry in block style: with the comments right above it, without the next one's."""

    first: int  # 0-based
    last: int  # exclusive
    indent: int  # of its key


def blocks(data: bytes, section: str = INSTANCES) -> dict[str, Block]:
    """Return where each entry stands, as far as it has lines of its own."""
    lines = _lines(data)
    found: dict[str, Block] = {}
    for document in parse(data):
        for node in _section_nodes(document, section):
            if node.flow_style:
                continue
            starts = [key.start_mark.line for key, _ in node.value]
            ends = [*starts[1:], _end_line(node, lines)]
            for (key, _), start, end in zip(node.value, starts, ends, strict=True):
                indent = key.start_mark.column
                first, last = _with_comments(lines, start, indent), _without_comments(lines, start, end, indent)
                found.setdefault(key.value, Block(first, last, indent))
    return found


def file_of(
    name: str,
    config: NetworkInstanceConfig | UplinkConfig,
    data: bytes,
    block: Block | None,
    *,
    section: str = INSTANCES,
    check: bool = True,
) -> str:
    """Return the text of a file that defines just this entry: its own words where that is possible.

    Without `check` it isn't read back: enough to see whether such a file is there already.
    """
    if block is not None:
        lines = _lines(data)[block.first : block.last]
        kept = [INDENT + line[block.indent :] if line.strip() else "" for line in lines]
        text = "\n".join([f"{section}:", *kept]).rstrip() + "\n"
        if not check or defines(text, name, config, section):
            return text
    plain = {section: {name: to_plain(config, sparse=True)}}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)


def defines(text: str, name: str, config: NetworkInstanceConfig | UplinkConfig, section: str = INSTANCES) -> bool:
    """Tell whether a file's text defines this entry so, and nothing else."""
    found = read_files({"": text.encode()})
    here: dict[tuple[str, str], NetworkInstanceConfig | UplinkConfig] = {
        (INSTANCES, other): defined.config for other, defined in found.instances.items()
    }
    here |= {(UPLINKS, other): defined.config for other, defined in found.uplinks.items()}
    return not found.problems and here == {(section, name): config}


def without(data: bytes, name: str, section: str = INSTANCES) -> str | None:
    """Return a file's text without one entry; None when nothing is left in it. Raises KeyError."""
    before = names(data, section)
    if name not in before:
        raise KeyError(name)
    documents = parse(data)
    if has_only(data, name, section):
        return None
    block = blocks(data, section).get(name)
    if block is not None:
        lines = _lines(data)
        text = "\n".join([*lines[: block.first], *lines[block.last :]]) + "\n"
        if names(text.encode(), section) == before - {name}:
            return text
    for document in documents:
        for node in _section_nodes(document, section):
            node.value = [(key, value) for key, value in node.value if key.value != name]
    return "---\n".join(yaml.serialize(document, allow_unicode=True) for document in documents)


def names(data: bytes, section: str = INSTANCES) -> set[str]:
    """Return the entries that a file defines, right or wrong; none when it is no YAML."""
    try:
        documents = parse(data)
    except ValueError:
        return set()
    return {key.value for document in documents for node in _section_nodes(document, section) for key, _ in node.value}


def has_only(data: bytes, name: str, section: str = INSTANCES) -> bool:
    """Tell whether a file holds nothing but this entry, or is no YAML at all."""
    try:
        documents = parse(data)
    except ValueError:
        return True
    return names(data, section) <= {name} and all(_has_only(document, section) for document in documents)


def _section_nodes(document: Node, section: str) -> list[yaml.MappingNode]:
    if not isinstance(document, yaml.MappingNode):
        return []
    return [
        value
        for key, value in document.value
        if key.value == section and isinstance(value, yaml.MappingNode) and value.value
    ]


def _has_only(document: Node, section: str) -> bool:
    return isinstance(document, yaml.MappingNode) and all(
        key.value == section or is_null(value) for key, value in document.value
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
