"""get, describe, watch, logs, doctor and the rest: what they print, and how they fail."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.hosts import DEADLINE, Daemon, wait_until

FIELDS = {"name", "type", "state", "reason", "pid", "netns", "subnet", "uplink", "restarts"}


def test_get_instances_prints_every_format(daemon: Daemon) -> None:
    as_json = daemon.get()
    assert all(status.keys() >= FIELDS for status in as_json)
    red = next(status for status in as_json if status["name"] == "red")
    assert (red["state"], red["subnet"], red["uplink"], red["netns"]) == ("ready", "10.1.0.0/24", "eth0", "red")
    as_yaml = yaml.safe_load(daemon.cli("get", "instances", "red", "-o", "yaml", check=True).stdout)
    assert [status["name"] for status in as_yaml] == ["red"]
    assert daemon.cli("get", "instances", "red", "blue", "-o", "name").stdout.split() == ["blue", "red"]
    text = daemon.cli("get", "instances").stdout
    assert re.search(r"^NAME +TYPE +STATE +SUBNET +UPLINK +RESTARTS +REASON$", text, re.MULTILINE)
    assert re.search(r"^red +local +ready +10\.1\.0\.0/24 +eth0 +0 +-$", text, re.MULTILINE)
    assert "NETNS" in daemon.cli("get", "instances", "-o", "wide").stdout


def test_get_portmaps_uplinks_apps_and_tables(daemon: Daemon) -> None:
    [portmap] = daemon.get("portmaps")
    wanted = {
        "instance": "red",
        "app": "web",
        "uplink": "eth0",
        "outer": "192.168.0.2:8080",
        "inner": "10.1.0.80:80",
        "protocol": "tcp",
    }
    assert portmap == wanted
    assert [uplink["ifname"] for uplink in daemon.get("uplinks")] == ["eth0"]
    assert [app["name"] for app in daemon.get("apps")] == ["red/web"]
    assert "confd/NetworkInstanceConfig" in {table["name"] for table in daemon.get("tables")}


@pytest.mark.parametrize("language", ["svg", "dot", "mermaid"])
def test_graph_draws_what_runs(daemon: Daemon, language: str) -> None:
    drawn = daemon.cli("graph", "-o", language, "--host", "the box", check=True).stdout
    for name in ("the box", "eth0", "192.168.0.2/24", "red", "blue", "10.1.0.0/24", "web", "eth0:8080 → 80/tcp"):
        assert name in drawn
    assert daemon.cli("graph", "-o", language, "--host", "the box", check=True).stdout == drawn


def test_a_lease_of_a_running_app_is_listed(daemon: Daemon) -> None:
    daemon.cli("run", "red", "--name", "guest", "--", "true", check=True)
    leases = wait_until(lambda: daemon.get("leases"), what="the lease")
    assert [lease["hostname"] for lease in leases] == ["guest"]
    assert daemon.cli("get", "leases", "red", "-o", "name").stdout.strip() == leases[0]["address"]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("get", "instances", "grey"), 3),
        (("get", "leases", "grey"), 3),
        (("describe", "instance", "grey"), 3),
        (("describe", "app", "red/grey"), 3),
        (("describe", "uplink", "grey0"), 3),
        (("logs", "grey"), 3),
        (("watch", "confd/Nothing"), 3),
        (("run", "grey", "--", "true"), 3),
        (("exec", "grey", "--", "true"), 3),
        (("apply", "-f", "/nowhere.yaml"), 3),
        (("get", "everything"), 2),
        (("run", "red"), 2),
        (("wait", "instance", "red", "--timeout", "soon"), 2),
        (("get", "instances", "--run-dir", "/nowhere"), 4),
        (("down", "--run-dir", "/nowhere"), 4),
        (("graph", "--run-dir", "/nowhere"), 4),
    ],
)
def test_failures_have_stable_exit_codes_and_no_traceback(daemon: Daemon, args: tuple[str, ...], code: int) -> None:
    done = daemon.cli(*args)
    assert done.returncode == code, done.stderr
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


def test_describe_tells_conditions_processes_and_memory(daemon: Daemon) -> None:
    found = json.loads(daemon.cli("describe", "instance", "red", "-o", "json", check=True).stdout)
    assert {condition["name"]: condition["ok"] for condition in found["conditions"]}["ManagerRuns"]
    processes = {process["name"]: process for process in found["processes"]}
    assert set(processes) == {"manager", "dnsmasq", "radvd"}
    assert 1 << 20 < processes["manager"]["pss_bytes"] < 64 << 20
    assert processes["manager"]["cpu_seconds"] >= 0
    assert found["config"]["apps"]["web"]["ports"] == ["8080:80/tcp"]
    text = daemon.cli("describe", "instance", "red", check=True).stdout
    assert re.search(r"manager +\d+ +[\d.]+ MiB", text)


def test_watch_prints_the_table_and_then_changes(daemon: Daemon) -> None:
    watching = daemon.host.popen(
        [daemon.command, "watch", "confd/NetworkInstanceConfig", "-o", "json"], env=daemon.environment, stdout=-1
    )
    assert watching.stdout is not None
    events: list[dict[str, Any]] = []
    while not events or events[-1]["event"] != "synchronized":
        events.append(json.loads(watching.stdout.readline()))
    assert {event["key"] for event in events} >= {"red", "blue"}
    daemon.configure("instances: {seen: {}}", "seen.yaml")
    assert json.loads(watching.stdout.readline())["key"] == "seen"
    daemon.cli("delete", "seen", check=True)
    assert json.loads(watching.stdout.readline())["event"] == "deleted"
    watching.terminate()
    watching.wait(DEADLINE)
    watching.stdout.close()


def test_logs_follow_what_comes(daemon: Daemon) -> None:
    assert len(daemon.cli("logs", "red", "-n", "2", check=True).stdout.splitlines()) == 2
    assert "dnsmasq" in daemon.cli("logs", "red", check=True).stdout
    following = daemon.host.popen([daemon.command, "logs", "-f", "-n", "1", "red"], env=daemon.environment, stdout=-1)
    assert following.stdout is not None
    assert following.stdout.readline()  # it follows
    with daemon.host.path("/run/nsvisor/logs/red.log").open("a") as log:
        log.write("a new line\n")
    assert following.stdout.readline() == "a new line\n"
    following.terminate()
    following.wait(DEADLINE)
    following.stdout.close()


def test_doctor_finds_nothing_that_cannot_work_here(daemon: Daemon) -> None:
    done = daemon.cli("doctor", "-o", "json")
    findings = json.loads(done.stdout)
    assert [finding for finding in findings if finding["level"] == "error"] == []
    assert done.returncode == 0
    levels = {finding["check"]: finding["level"] for finding in findings}
    assert levels["veth links"] == levels["user namespaces"] == levels["nft with NAT and maps"] == "ok"
    assert levels["nsvisord"] == "ok"
    assert all(finding["remedy"] for finding in findings if finding["level"] != "ok")


def test_doctor_sees_a_firewall_that_drops(daemon: Daemon) -> None:
    daemon.host.sh("nft 'table ip other { chain pass { type filter hook forward priority 10; policy drop; }; }'")
    found = json.loads(daemon.cli("doctor", "-o", "json").stdout)
    daemon.host.sh("nft delete table ip other")
    [finding] = [finding for finding in found if finding["check"] == "forwarding"]
    assert finding["level"] == "warning"
    assert "ip other pass" in finding["found"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(daemon: Daemon, shell: str) -> None:
    assert "nsvisor" in daemon.cli("completion", shell, check=True).stdout


def test_bash_completes_commands_and_instances(daemon: Daemon) -> None:
    def complete(*words: str) -> list[str]:
        environment = {
            **daemon.environment,
            "_NSVISOR_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["nsvisor", *words]),
            "COMP_CWORD": str(len(words)),
        }
        done = daemon.host.run([daemon.command], env=environment)
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert "describe" in complete("des")
    assert complete("get", "inst")[0].startswith("instance")
    assert complete("describe", "instance", "re") == ["red"]


def test_schema_and_version_are_printed(daemon: Daemon) -> None:
    assert json.loads(daemon.cli("schema", check=True).stdout)["title"] == "nsvisor configuration"
    assert str(daemon.pid) in daemon.cli("version", check=True).stdout


def test_a_closed_pipe_is_no_traceback(daemon: Daemon) -> None:
    done = daemon.host.run(["sh", "-c", f"{daemon.command} get tables | true"], env=daemon.environment)
    assert "Traceback" not in done.stderr


def test_an_unprivileged_user_is_told_so(daemon: Daemon) -> None:
    done = daemon.host.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", daemon.command, "get", "instances"],
        env=daemon.environment,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stderr
