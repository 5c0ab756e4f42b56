"""`apply` gives each instance a file of its own, and touches nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.cli.placing import (
    ElsewhereError,
    InvalidError,
    Step,
    place,
    place_settings,
    read_applied,
    remove,
)

DIRECTORY = Path("/etc/nsvisor")


def steps(text: str, **existing: str) -> list[Step]:
    sources = {"/home/lab.yaml": text.encode()}
    there = {f"/etc/nsvisor/{name}.yaml": content.encode() for name, content in existing.items()}
    return place(read_applied(sources), sources, there, DIRECTORY)


def actions(found: list[Step]) -> dict[str, str]:
    return {f"{step.name}@{step.path.name}": step.action for step in found}


def test_new_instances_get_a_file_each() -> None:
    found = steps("instances: {red: {}, blue: {}}")
    assert actions(found) == {"red@red.yaml": "created", "blue@blue.yaml": "created"}


def test_what_is_there_already_is_unchanged_and_what_differs_changes() -> None:
    text = "instances:\n  red:\n    mtu: 1400\n  blue: {}\n"
    [red, blue] = steps(text)
    assert red.text is not None
    assert blue.text is not None
    again = steps(text, red=red.text, blue=blue.text)
    assert actions(again) == {"red@red.yaml": "unchanged", "blue@blue.yaml": "unchanged"}
    other = steps(text, red="instances: {red: {mtu: 1300}}", blue=blue.text)
    assert actions(other) == {"red@red.yaml": "changed", "blue@blue.yaml": "unchanged"}


def test_an_instance_of_another_file_is_an_error_that_names_it() -> None:
    with pytest.raises(ElsewhereError, match=r"/etc/nsvisor/site\.yaml"):
        steps("instances: {red: {}}", site="instances: {red: {}}")
    with pytest.raises(ElsewhereError, match=r"/etc/nsvisor/site\.yaml"):
        steps("instances: {red: {}}", site="instances: {red: {mtu: broken}}")
    with pytest.raises(ElsewhereError, match="with others"):
        steps("instances: {red: {}}", red="instances: {red: {mtu: 1400}, blue: {}}")


def test_a_file_of_the_directory_itself_is_not_written() -> None:
    sources = {"/etc/nsvisor/site.yaml": b"instances: {red: {}, blue: {}}"}
    found = place(read_applied(sources), sources, sources, DIRECTORY)
    assert [(step.action, step.text) for step in found] == [("unchanged", None)] * 2


def test_what_is_wrong_alone_or_beside_the_others_is_refused() -> None:
    with pytest.raises(InvalidError) as caught:
        steps("instances: {red: {mtu: 1, subnet: 5}}")
    assert {problem.field for problem in caught.value.problems} == {"instances.red.subnet"}
    port = "apps: {web: {ports: ['80:80']}}"
    with pytest.raises(InvalidError) as caught:
        steps(f"instances: {{red: {{{port}}}}}", zoo=f"instances: {{zoo: {{{port}}}}}")
    assert "instance zoo's" in caught.value.problems[0].message


def test_others_broken_files_are_no_reason_to_refuse() -> None:
    assert actions(steps("instances: {red: {}}", site="[", far="instances: {far: {mtu: x}}")) == {
        "red@red.yaml": "created"
    }


def test_settings_go_into_their_own_file_unless_they_stand_elsewhere() -> None:
    sources = {"/home/lab.yaml": b"settings: {link_pool: 100.100.0.0/16}"}
    applied = read_applied(sources)
    found = place_settings(applied, sources, {}, DIRECTORY)
    assert found == (DIRECTORY / "settings.yaml", "settings:\n  link_pool: 100.100.0.0/16\n")
    assert found is not None
    assert place_settings(applied, sources, {str(found[0]): found[1].encode()}, DIRECTORY) is None
    with pytest.raises(ElsewhereError, match="site"):
        place_settings(applied, sources, {"/etc/nsvisor/site.yaml": b"settings: {}"}, DIRECTORY)


def test_several_instances_are_removed_from_one_file() -> None:
    existing: dict[str, bytes | OSError] = {"/etc/nsvisor/a.yaml": b"instances:\n  red: {}\n  blue: {}\n  far: {}\n"}
    found = remove(["red", "far"], existing)
    assert found[-1].text == "instances:\n  blue: {}\n"
    assert remove(["red", "blue", "far"], existing)[-1].text is None
    with pytest.raises(KeyError):
        remove(["grey"], existing)


def test_an_instance_that_two_files_define_is_removed_from_both() -> None:
    existing: dict[str, bytes | OSError] = {
        "/etc/nsvisor/a.yaml": b"instances: {red: {}}",
        "/etc/nsvisor/b.yaml": b"instances:\n  red: {}\n  blue: {}\n",
    }
    assert {step.path.name: step.text for step in remove(["red"], existing)} == {
        "a.yaml": None,
        "b.yaml": "instances:\n  blue: {}\n",
    }


def test_a_file_of_the_directory_that_collides_with_another_is_refused() -> None:
    port = "apps: {web: {ports: ['80:80']}}"
    files: dict[str, bytes | OSError] = {
        "/etc/nsvisor/a.yaml": f"instances: {{red: {{{port}}}}}".encode(),
        "/etc/nsvisor/b.yaml": f"instances: {{blue: {{{port}}}}}".encode(),
    }
    mine = {"/etc/nsvisor/b.yaml": files["/etc/nsvisor/b.yaml"]}
    with pytest.raises(InvalidError):
        place(read_applied(mine), mine, files, DIRECTORY)
