"""apply, plan, delete and wait, as a person or a script uses them."""

from __future__ import annotations

import json

from tests.hosts import Daemon


def names(daemon: Daemon) -> set[str]:
    return {status["name"] for status in daemon.get()}


def test_apply_makes_instances_that_are_ready_when_it_returns(daemon: Daemon) -> None:
    done = daemon.cli("apply", "-f", "-", "-o", "json", text="instances: {far: {subnet: 10.9.0.0/24}}")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    assert (row["name"], row["action"], row["state"]) == ("far", "created", "ready")
    assert row["file"] == "/etc/nsvisor/far.yaml"
    assert daemon.instance("far")["state"] == "ready"
    assert "10.9.0.1/24" in daemon.host.run(["ip", "-n", "far", "addr", "show", "br0"]).stdout


def test_apply_waits_for_the_change_and_not_for_the_old_state(daemon: Daemon) -> None:
    for mtu in (1400, 1300, 1290):
        text = f"instances: {{far: {{subnet: 10.9.0.0/24, mtu: {mtu}}}}}"
        done = daemon.cli("apply", "-f", "-", text=text, check=True)
        assert "changed" in done.stdout
        assert f"mtu {mtu}" in daemon.host.run(["ip", "-n", "far", "link", "show", "br0"]).stdout


def test_apply_again_changes_nothing(daemon: Daemon) -> None:
    before = daemon.host.run(["ls", "-li", "--time-style=full-iso", "/etc/nsvisor"]).stdout
    done = daemon.cli("apply", "-f", "/run/lab.yaml", "-o", "json", check=True)
    assert {row["action"] for row in json.loads(done.stdout)} == {"unchanged"}
    assert daemon.host.run(["ls", "-li", "--time-style=full-iso", "/etc/nsvisor"]).stdout == before


def test_plan_prints_commands_and_does_nothing(daemon: Daemon) -> None:
    text = "instances: {green: {subnet: 10.7.0.0/24}}"
    done = daemon.cli("plan", "-f", "-", text=text)
    assert done.returncode == 0, done.stderr
    assert "ip netns add green" in done.stdout
    assert "ip netns exec green ip addr add 10.7.0.1/24 dev br0" in done.stdout
    assert "green" not in names(daemon)
    assert "green" not in daemon.host.run(["ip", "netns"]).stdout
    assert json.loads(daemon.cli("plan", "-f", "-", "-o", "json", text=text, check=True).stdout)["instances"]["green"]


def test_a_broken_file_is_refused_with_every_mistake_and_nothing_is_written(daemon: Daemon) -> None:
    text = "instances:\n  bad:\n    subnett: 10.1.0.0/24\n    mtu: x\n  good: {}\n"
    for command in ("apply", "plan"):
        done = daemon.cli(command, "-f", "-", text=text)
        assert done.returncode == 6
        assert "-:3: instances.bad.subnett: unknown field 'subnett'" in done.stderr
        assert "did you mean 'subnet'?" in done.stderr
        assert "-:4: instances.bad.mtu: 'x' is not a whole number" in done.stderr
        assert "Traceback" not in done.stderr
    assert not names(daemon) & {"good", "bad"}


def test_a_mistake_in_the_directory_is_in_the_status_and_the_last_good_config_in_force(daemon: Daemon) -> None:
    daemon.configure("instances: {far2: {subnet: 10.10.0.0/24}}", "far2.yaml")
    daemon.wait_ready("far2")
    daemon.configure("instances:\n  far2: {subnet: 10.10.0.0/31}", "far2.yaml")
    done = daemon.cli("wait", "instance", "far2", "--for", "degraded", "--timeout", "60s")
    assert done.returncode == 0, done.stderr
    status = daemon.instance("far2")
    assert "/etc/nsvisor/far2.yaml:2" in status["reason"]
    assert "10.10.0.0/31 is too small" in status["reason"]
    assert status["subnet"] == "10.10.0.0/24"
    assert "far2.yaml:2" in daemon.cli("describe", "instance", "far2").stdout
    assert "far2.yaml:2" in daemon.cli("doctor", "-q").stdout
    daemon.cli("delete", "far2", check=True)


def test_an_instance_of_another_file_is_not_touched(daemon: Daemon) -> None:
    done = daemon.cli("apply", "-f", "-", text="instances: {red: {mtu: 1400}}")
    assert done.returncode == 0
    daemon.cli("apply", "-f", "/run/lab.yaml", check=True)
    daemon.configure("instances: {site: {}}", "house.yaml")
    daemon.wait_ready("site")
    done = daemon.cli("apply", "-f", "-", text="instances: {site: {mtu: 1400}}")
    assert done.returncode == 1
    assert "/etc/nsvisor/house.yaml" in done.stderr
    daemon.cli("delete", "instance", "site", check=True)
    assert "site" not in names(daemon)


def test_delete_takes_it_off_the_host_and_keeps_the_rest_of_the_file(daemon: Daemon) -> None:
    text = "# two\ninstances:\n  one: {}\n  # the second\n  two: {}\n"
    path = daemon.host.path(daemon.configure(text, "pair.yaml"))
    daemon.wait_ready("one", "two")
    done = daemon.cli("delete", "one")
    assert (done.returncode, done.stdout) == (0, "one deleted\n")
    assert "one" not in names(daemon)
    assert path.read_text() == "# two\ninstances:\n  # the second\n  two: {}\n"
    daemon.cli("delete", "two", check=True)
    assert not path.exists()
    done = daemon.cli("delete", "two")
    assert done.returncode == 3
    assert "no file in /etc/nsvisor defines an instance two" in done.stderr


def test_wait_tells_missing_things_from_late_ones(daemon: Daemon) -> None:
    assert daemon.cli("wait", "instance", "red", "--for", "ready", "--timeout", "60s").returncode == 0
    assert daemon.cli("wait", "instance", "grey", "--timeout", "100ms").returncode == 3
    done = daemon.cli("wait", "instance", "red", "--for", "failed", "--timeout", "3s")
    assert done.returncode == 5
    assert "instance red: ready" in done.stderr


def test_an_instance_that_waits_for_its_uplink_is_told_with_the_reason(daemon: Daemon) -> None:
    text = "instances: {wan: {uplinks: [wwan0]}}"
    daemon.cli("apply", "-f", "-", "--no-wait", text=text, check=True)
    daemon.cli("wait", "instance", "wan", "--for", "waiting", check=True)
    done = daemon.cli("apply", "-f", "-", "--timeout", "3s", text=text)
    assert done.returncode == 5, done.stdout
    assert "wwan0" in done.stdout
    assert "waiting" in done.stdout
    daemon.cli("delete", "wan", check=True)
