"""`apply` and `delete` keep uplinks as they keep instances: a file each, and nobody else's touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.cli import edit
from supervisor.cli.placing import ElsewhereError, InvalidError, Step, place, read_applied, remove

DIRECTORY = Path("/etc/nsvisor")
LAB = """\
uplinks:
  # by cable
  eth0: {cost: 1}  # cheap
  eth0.100:
    labels: [wan]
instances:
  red: {uplinks: [wan]}
"""


def steps(text: str, **existing: str) -> list[Step]:
    sources = {"/home/lab.yaml": text.encode()}
    there = {f"/etc/nsvisor/{name}.yaml": content.encode() for name, content in existing.items()}
    return place(read_applied(sources), sources, there, DIRECTORY)


def actions(found: list[Step]) -> dict[str, str]:
    return {f"{step.title}@{step.path.name}": step.action for step in found}


def test_each_uplink_gets_a_file_with_its_own_words() -> None:
    found = steps(LAB)
    assert actions(found) == {
        "uplink/eth0@uplink.eth0.yaml": "created",
        "uplink/eth0.100@uplink.eth0.100.yaml": "created",
        "red@red.yaml": "created",
    }
    assert [step.text for step in found] == [
        "uplinks:\n  # by cable\n  eth0: {cost: 1}  # cheap\n",
        "uplinks:\n  eth0.100:\n    labels: [wan]\n",
        "instances:\n  red: {uplinks: [wan]}\n",
    ]


def test_what_is_there_is_unchanged_and_what_differs_changes() -> None:
    [eth0, vlan, red] = steps(LAB)
    there = {"uplink.eth0": eth0.text or "", "uplink.eth0.100": vlan.text or "", "red": red.text or ""}
    assert set(actions(steps(LAB, **there)).values()) == {"unchanged"}
    changed = actions(steps("uplinks: {eth0: {cost: 2}}", **there))
    assert changed == {"uplink/eth0@uplink.eth0.yaml": "changed"}


def test_an_uplink_of_another_file_is_an_error_that_names_it() -> None:
    for there in ("uplinks: {eth0: {}}", "uplinks: {eth0: {cost: x}}"):
        with pytest.raises(ElsewhereError, match=r"uplink eth0 stands in /etc/nsvisor/site\.yaml; edit that file"):
            steps("uplinks: {eth0: {cost: 1}}", site=there)


@pytest.mark.parametrize(
    ("text", "name", "there"),
    [
        ("uplinks: {eth0: {cost: 1}}", "uplink.eth0", "uplinks: {eth0: {}, eth1: {}}"),
        ("uplinks: {eth0: {cost: 1}}", "uplink.eth0", "uplinks: {eth0: {}}\ninstances: {red: {}}"),
        ("uplinks: {eth0: {cost: 1}}", "uplink.eth0", "uplinks: {eth1: {}}"),
        ("instances: {red: {mtu: 1400}}", "red", "instances: {red: {}}\nsettings: {config_from: [confd, cloud]}"),
        ("instances: {red: {mtu: 1400}}", "red", "instances: {blue: {}}"),
    ],
)
def test_nothing_else_is_lost_with_a_file_that_is_written_anew(text: str, name: str, there: str) -> None:
    with pytest.raises(ElsewhereError, match="edit that file"):
        steps(text, **{name: there})


def test_mistakes_in_an_uplink_are_refused_and_those_of_others_are_not() -> None:
    with pytest.raises(InvalidError) as caught:
        steps("uplinks: {eth0: {cost: 256}}")
    assert [problem.field for problem in caught.value.problems] == ["uplinks.eth0.cost"]
    found = steps("uplinks: {eth0: {cost: 5}}", site="uplinks: {eth0.100: {cost: 256}}")
    assert actions(found) == {"uplink/eth0@uplink.eth0.yaml": "created"}


def test_a_label_that_is_there_already_makes_a_port_map_right() -> None:
    port = "instances: {red: {uplinks: [wan], apps: {web: {ports: ['eth0:80:80']}}}}"
    uplink = "uplinks: {eth0: {labels: [wan]}}"
    with pytest.raises(InvalidError):
        steps(port)
    assert actions(steps(f"{uplink}\n{port}")) == {"uplink/eth0@uplink.eth0.yaml": "created", "red@red.yaml": "created"}


def test_uplinks_and_instances_leave_one_file_together() -> None:
    existing: dict[str, bytes | OSError] = {"/etc/nsvisor/a.yaml": LAB.encode()}
    found = remove(["red"], existing, ["eth0"])
    assert [(step.title, step.action) for step in found] == [("red", "deleted"), ("uplink/eth0", "deleted")]
    assert found[-1].text is not None
    assert edit.names(found[-1].text.encode(), "uplinks") == {"eth0.100"}
    assert edit.names(found[-1].text.encode()) == set()
    assert remove([], {"/etc/nsvisor/a.yaml": b"uplinks: {eth0: {}}"}, ["eth0"])[-1].text is None
    with pytest.raises(KeyError, match="uplink eth9"):
        remove([], existing, ["eth9"])
