"""Knows YAML: one file's text becomes nodes that still know their lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

NULL_TAG = "tag:yaml.org,2002:null"
MERGE_TAG = "tag:yaml.org,2002:merge"
SIZE_LIMIT = 8 << 20  # bytes of one file; a thousand instances need less than one
DEPTH_LIMIT = 50  # of nested brackets; our deepest field has 7, and the parser recurses
QUOTE_LENGTH = 60  # characters of a value in a message

Node = yaml.nodes.Node
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times faster


class DocumentError(ValueError):
    """Text that is no YAML at all."""

    def __init__(self, line: int, message: str, remedy: str) -> None:
        super().__init__(message)
        self.line = line  # 1-based; 0: unknown
        self.message = message
        self.remedy = remedy


def parse(data: bytes) -> list[Node]:
    """Read all documents of one file; those that are empty are left out. Raises DocumentError."""
    if len(data) > SIZE_LIMIT:
        raise DocumentError(0, f"the file has {len(data)} bytes", f"keep it under {SIZE_LIMIT}: split it into several")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        raise DocumentError(line, f"byte 0x{data[exc.start]:02x} is not UTF-8", "save the file as UTF-8") from exc
    try:
        _refuse_depth(text)
        return [node for node in yaml.compose_all(text, Loader=_Loader) if not is_null(node)]
    except yaml.reader.ReaderError as exc:
        line = text[: exc.position].count("\n") + 1
        raise DocumentError(line, "a character that YAML doesn't allow", "remove it") from exc
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        words = " ".join(part for part in (exc.context, exc.problem) if part)
        line = min(_line(mark), len(text.splitlines()) or 1)  # libyaml points behind an end that comes too soon
        raise DocumentError(line, f"not YAML: {words}", _syntax_remedy(text, mark)) from exc


def is_null(node: Node) -> bool:
    """Tell whether a node stands for nothing (`key:`, `~`, `null`)."""
    return isinstance(node, yaml.ScalarNode) and node.tag == NULL_TAG


def line_of(node: Node) -> int:
    """Return the line where a node begins, 1-based."""
    return _line(node.start_mark)


def quote(node: Node) -> str:
    """Return a node as it stands in the file, shortened; empty for what spans lines."""
    if isinstance(node, yaml.ScalarNode):
        text = str(node.value)
    elif isinstance(node, yaml.SequenceNode):
        items = (str(item.value) if isinstance(item, yaml.ScalarNode) else "…" for item in node.value[:QUOTE_LENGTH])
        text = f"[{', '.join(items)}]"
    else:
        text = "" if node.value else "{}"
    text = " ".join(text.split())
    return text if len(text) <= QUOTE_LENGTH else text[: QUOTE_LENGTH - 1] + "…"


def pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode | None, Node]]:
    """Yield keys and values, those of `<<` merges last; None stands for a key that is no scalar."""
    own: set[str] = set()
    merges: list[Node] = []
    for key, value in node.value:
        if key.tag == MERGE_TAG:
            merges.append(value)
        elif isinstance(key, yaml.ScalarNode):
            own.add(key.value)
            yield key, value
        else:
            yield None, value
    for key, value in _merged(merges):
        if key.value not in own:
            own.add(key.value)
            yield key, value


def _merged(merges: list[Node]) -> Iterator[tuple[yaml.ScalarNode, Node]]:
    """Yield the pairs of merged mappings, each mapping once: aliases may name one again and again, and itself."""
    seen: set[int] = set()
    waiting = merges[::-1]
    while waiting:
        source = waiting.pop()
        if id(source) in seen:
            continue
        seen.add(id(source))
        if isinstance(source, yaml.SequenceNode):
            waiting.extend(reversed(source.value))
        elif isinstance(source, yaml.MappingNode):
            yield from (
                (key, value) for key, value in source.value if isinstance(key, yaml.ScalarNode) and key.tag != MERGE_TAG
            )
            waiting.extend(value for key, value in reversed(source.value) if key.tag == MERGE_TAG)


def _refuse_depth(text: str) -> None:
    """Stop what would exhaust the parser's stack: it recurses once a level, in flow and in block style."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_LIMIT:
                raise DocumentError(_line(event.start_mark), "nested too deeply", "remove the extra brackets")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _line(mark: Any) -> int:
    return int(mark.line) + 1 if mark else 0  # Python's and libyaml's marks share no type


def _syntax_remedy(text: str, mark: yaml.Mark | None) -> str:
    lines = text.splitlines()
    around = lines[max(mark.line - 1, 0) : mark.line + 1] if mark else []
    if any("\t" in line for line in around):
        return "indent with spaces: YAML allows no tabs"
    return "look at the indentation, colons, brackets and quotes here and in the line above"
