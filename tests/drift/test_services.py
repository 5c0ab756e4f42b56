"""What isn't an object of the kernel's network: services, their files, the pins of namespaces, attached apps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from nsmanager.items.service import Service
from nsmanager.names import TUNNEL
from tests.drift.rig import INSTANCES, REPAIR, System
from tests.hosts import wait_until
from tests.invariants.rig import kill


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System() as made:
        yield made


def services(system: System) -> list[tuple[str, Service]]:
    """Return all services that are planned, with their instances."""
    return [(name, item) for name in INSTANCES for item in system.hands[name].items if isinstance(item, Service)]


def pid(system: System, service: Service) -> int:
    text = content(system, service.pid_file).partition("\n")[0]
    assert text.isdecimal(), f"{service.pid_file}: {text!r}"
    return int(text)


def content(system: System, path: str) -> str:
    """Return the text of a file; nothing while it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return system.host.read_file(path)
    return ""


def wait_logged(system: System, name: str, since: int, command: str) -> None:
    """Return when a manager has logged a command, and no other; with charon goes its own link."""

    def logged() -> bool:
        commands = [line for line in system.commands(name, since) if TUNNEL not in line]
        assert commands == [command], commands
        return True

    wait_until(logged, REPAIR, f"{name}: {command}")


def test_a_killed_service_is_started_again(system: System) -> None:
    tried = 0
    for name, service in services(system):
        old, said = pid(system, service), system.said(name)
        kill(old)
        new = wait_until(lambda: pid(system, service) != old and pid(system, service), REPAIR, str(service))  # noqa: B023
        wait_logged(system, name, said, str(service))
        assert new != old
        tried += 1
    print(f"services killed and started again: {tried}")
    assert tried >= 5


def test_a_changed_or_deleted_file_is_written_again_and_read(system: System) -> None:
    """Nobody tells of a file: it is found by the next look, for which anything may be the reason."""
    tried = 0
    for name, service in services(system):
        for number, (path, text) in enumerate(service.files + service.reloadable):
            for script in (f"rm -f {path}", f"echo '# by hand' >> {path}"):
                old, said = pid(system, service), system.said(name)
                system.host.sh(script)
                system.hands[name].sh("ip addr add 192.0.2.99/32 dev lo; ip addr del 192.0.2.99/32 dev lo")
                wait_until(lambda: content(system, path) == text, REPAIR, f"{name}: {script}")  # noqa: B023
                again, read = f"kill {old}; {service}", f"kill -HUP $(cat {service.pid_file})"
                wait_logged(system, name, said, again if number < len(service.files) else read)
                tried += 1
    print(f"files of services changed or deleted: {tried}")
    assert tried >= 20


@pytest.mark.parametrize("script", ["umount {0}; rm {0}", "umount {0}", "ip netns del {1}"])
def test_a_deleted_pin_is_back(system: System, script: str) -> None:
    for name in INSTANCES:
        pin = f"/run/netns/{name}"
        inode = system.host.sh(f"stat -Lc %i {pin}")
        system.host.sh(script.format(pin, name))
        wait_until(lambda: system.host.sh(f"stat -Lc %i {pin}") == inode, REPAIR, f"the pin of {name}")  # noqa: B023
        assert system.hands[name].changes() == {}


@pytest.mark.parametrize(("name", "port"), [("red", "p-web"), ("red", "p-db"), ("desk", "p-cam")])
def test_a_deleted_port_of_an_attached_app_is_back(system: System, name: str, port: str) -> None:
    system.hands[name].sh(f"ip link del {port}")
    system.hands[name].converge()
    assert "master br0" in system.hands[name].sh(f"ip -o link show {port}")


def test_nothing_else_was_touched(system: System) -> None:
    for name, hand in system.hands.items():
        assert not hand.changes(), name
    assert system._managers() == system.pids


def test_a_renamed_link_gets_its_name_back_and_no_service_begins_anew(system: System) -> None:
    tried = 0
    for name, service in services(system):
        if service.ifname != "up0":
            continue
        old = pid(system, service)
        system.hands[name].sh("ip link set up0 down; ip link set up0 name drift8")
        system.hands[name].converge()
        assert pid(system, service) == old, service
        tried += 1
    assert tried
