"""Reads the comment of each field of a message from the source: the one place where its unit and meaning stand."""

from __future__ import annotations

import ast
import functools
import inspect
import io
import tokenize
import types

import msgspec


def field_comments(type_: type[msgspec.Struct]) -> dict[str, str]:
    """Return the comments of the fields of a message class, by field; fields without one are left out."""
    module = inspect.getmodule(type_)
    return _module_comments(module).get(type_.__name__, {}) if module else {}


@functools.cache
def _module_comments(module: types.ModuleType) -> dict[str, dict[str, str]]:
    """Return class -> field -> comment; empty where the source isn't installed."""
    try:
        source = inspect.getsource(module)
    except OSError:
        return {}
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = {
                field.target.id: comments[field.end_lineno or field.lineno]
                for field in node.body
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and (field.end_lineno or field.lineno) in comments
            }
    return found
