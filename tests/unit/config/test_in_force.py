"""What is broken keeps what was in force; what was in force and is unchanged keeps what it has."""

from __future__ import annotations

from pubsub.config import Configuration, Defined, read_files
from pubsub.topics import NetworkInstanceConfig

Instances = dict[str, Defined[NetworkInstanceConfig]]


def read(before: Instances, **texts: str) -> tuple[Configuration, Instances]:
    found = read_files({f"{name}.yaml": text.encode() for name, text in texts.items()}, before)
    return found, found.effective(before)


def mtus(effective: Instances) -> dict[str, int]:
    return {name: defined.config.mtu for name, defined in effective.items()}


def ports(effective: Instances) -> dict[str, list[str]]:
    return {
        name: [str(port) for app in defined.config.apps.values() for port in app.ports]
        for name, defined in effective.items()
    }


def web(port: int) -> str:
    return f"{{apps: {{web: {{ports: ['{port}:80']}}}}}}"


def test_a_broken_instance_keeps_its_last_good_config() -> None:
    _, first = read({}, a="instances: {red: {mtu: 1400}, blue: {mtu: 1400}}")
    _, second = read(first, a="instances: {red: {mtu: x}, blue: {mtu: 1300}}")
    assert mtus(second) == {"red": 1400, "blue": 1300}


def test_a_deleted_instance_goes_and_a_deleted_file_takes_its_instances() -> None:
    _, first = read({}, a="instances: {red: {}, blue: {}}", b="instances: {far: {}}")
    _, second = read(first, a="instances: {blue: {}}")
    assert set(second) == {"blue"}


def test_a_file_that_cannot_be_read_keeps_all_that_came_from_it() -> None:
    _, first = read({}, a="instances: {red: {mtu: 1400}}", b="instances: {blue: {}}")
    _, second = read(first, a="instances: {red: {mtu: 1300}", b="")
    assert mtus(second) == {"red": 1400}
    _, third = read(second, a="instances: {}")
    assert third == {}


def test_a_mistyped_top_key_deletes_nothing() -> None:
    _, first = read({}, a="instances: {red: {}}")
    _, second = read(first, a="instance: {red: {}}")
    assert set(second) == {"red"}


def test_an_instance_that_moved_from_a_broken_file_is_taken_from_its_new_place() -> None:
    _, first = read({}, a="instances: {red: {mtu: 1400}}")
    _, second = read(first, a="[", b="instances: {red: {mtu: 1300}}")
    assert mtus(second) == {"red": 1300}


def test_a_port_stays_with_the_instance_that_has_it() -> None:
    _, first = read({}, a=f"instances: {{a: {web(80)}, b: {web(81)}}}")
    found, second = read(first, a=f"instances: {{a: {web(81)}, b: {web(81)}}}")
    assert ports(second) == {"a": ["80:80/tcp"], "b": ["81:80/tcp"]}
    assert set(found.broken) == {"a"}


def test_two_instances_may_swap_their_ports() -> None:
    _, first = read({}, a=f"instances: {{a: {web(80)}, b: {web(81)}}}")
    found, second = read(first, a=f"instances: {{a: {web(81)}, b: {web(80)}}}")
    assert found.problems == ()
    assert ports(second) == {"a": ["81:80/tcp"], "b": ["80:80/tcp"]}


def test_a_port_that_a_broken_instance_holds_is_not_given_to_another() -> None:
    _, first = read({}, a=f"instances: {{a: {web(80)}, b: {web(81)}}}")
    found, second = read(first, a=f"instances: {{a: {{mtu: x}}, b: {web(80)}}}")
    assert ports(second) == {"a": ["80:80/tcp"], "b": ["81:80/tcp"]}
    assert set(found.broken) == {"a", "b"}


def test_falling_back_goes_on_until_nothing_collides() -> None:
    _, first = read({}, a=f"instances: {{a: {web(80)}, b: {web(81)}, c: {web(82)}}}")
    found, second = read(first, a=f"instances: {{a: {{mtu: x}}, b: {web(80)}, c: {web(81)}}}")
    assert ports(second) == {"a": ["80:80/tcp"], "b": ["81:80/tcp"], "c": ["82:80/tcp"]}
    assert set(found.broken) == {"a", "b", "c"}
