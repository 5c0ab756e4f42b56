"""docs/security.md names tests that are there, for each threat, and every test of the attack suite."""

from __future__ import annotations

import ast
import re

from tests.hosts.host import ROOT

TESTS = ROOT / "tests"
PAGE = (ROOT / "docs/security.md").read_text()
NAMED = frozenset(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE))


def functions(file: str) -> set[str]:
    """Return the tests that a file defines."""
    tree = ast.parse((TESTS / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_each_named_test_is_there() -> None:
    assert len(NAMED) > 40
    assert {(file, test) for file, test in NAMED if test not in functions(file)} == set()


def test_each_threat_has_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| who", "| threat"))]
    first = next(number for number, row in enumerate(rows) if row.startswith("| another's MAC"))
    threats = rows[first:]
    assert len(threats) > 30
    assert [row for row in threats if "::test_" not in row and not row.startswith("| socket")] == []


def test_each_attack_is_named() -> None:
    files = sorted((TESTS / "attack").glob("test_*.py"))
    assert len(files) >= 8
    there = {(f"attack/{file.name}", test) for file in files for test in functions(f"attack/{file.name}")}
    assert there - NAMED == set()
