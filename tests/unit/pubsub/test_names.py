"""Names of tables and what patterns cover."""

from __future__ import annotations

import pytest

from pubsub import names
from pubsub.errors import BadName


@pytest.mark.parametrize("name", ["a/B", "a/b-1/C", "nsmanager/red.x/NamespaceStatus", "_/_", "hub/TableStatus"])
def test_names_that_tables_can_have(name: str) -> None:
    assert names.is_name(name)


BAD = ["", "a", "a/b/c/d", "a//b", "/a/b", "a/b/", "../b", "a/..", "a/.b", "-a/b", "a+b/c", "a b/c", "é/b", "*/b"]


@pytest.mark.parametrize("name", [*BAD, "a/" + "b" * 200])
def test_names_that_no_table_can_have(name: str) -> None:
    assert not names.is_name(name)


def test_an_empty_scope_is_left_out() -> None:
    assert names.table_name("confd", "", "Note") == "confd/Note"
    assert names.table_name("nsmanager", "red", "Note") == "nsmanager/red/Note"
    assert names.table_name("nsmanager", "*", "Note") == "nsmanager/*/Note"
    assert names.scope_of("nsmanager/red/Note") == "red"
    assert names.scope_of("confd/Note") == ""
    with pytest.raises(BadName):
        names.table_name("a/b", "", "Note")


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("a/b", "a/b", True),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("a/*/*", "a/b/c", True),
        ("*/b", "a/b", True),
        ("a/b/*", "a/c/d", False),
        ("a/b/c", "a/*/c", False),
        ("a/*/c", "a/*/c", True),
    ],
)
def test_a_star_covers_one_part_and_only_a_star_covers_a_star(pattern: str, name: str, covered: bool) -> None:
    assert names.matches(pattern, name) is covered
