"""A manager that was taken over tells lies and tricks to nsvisord, and to people at terminals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest

from tests.attack.conftest import Tally
from tests.attack.infiltrated import STYLES, harmless, infiltrate, infiltrated
from tests.attack.infiltrator import HUGE
from tests.hosts import DEADLINE, wait_until
from tests.invariants.rig import Rig, alive

COMMANDS = (
    "get instances", "get instances -o wide", "get instances -o json", "get instances -o yaml", "get apps -o wide",
    "get leases", "get leases -o json", "get leases -o name", "get tables -o wide", "describe instance red",
    "describe instance red -o json", "describe instance red -o yaml", "describe app red/web", "flows red", "dns red",
    "flows red -o json", "dns red -o yaml", "watch nsmanager/red/NamespaceStatus --for 1",
    "watch nsmanager/red/NamespaceStatus --for 1 -o wide", "watch nsmanager/red/NamespaceStatus --for 1 -o json",
    "watch nsmanager/red/NamespaceStatus --for 1 -o name", "graph", "graph -o dot", "graph -o mermaid", "logs red",
    "wait instance red --for ready --timeout 0.1s", "doctor",
)  # fmt: skip


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with infiltrated() as made:
        yield made


@pytest.fixture(scope="module")
def speaking(rig: Rig) -> Iterator[subprocess.Popen[str]]:
    """While the infiltrator has the tables of red: it is faster than each manager that comes."""
    digest = json.loads(rig.daemon.cli("get", "instances", "red", "-o", "json", check=True).stdout)[0]
    assert digest["state"] == "ready"
    argv = infiltrate(rig, "speak", rig.daemon.run_dir, "0")
    process = rig.host.popen(argv, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    os.kill(rig.manager("red"), signal.SIGKILL)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait(DEADLINE)


@pytest.mark.usefixtures("speaking")
@pytest.mark.parametrize("words", COMMANDS)
def test_its_words_control_no_terminal(rig: Rig, words: str, tally: Tally) -> None:
    tally()
    done = rig.daemon.cli(*words.split())
    assert "internal error" not in done.stderr, done.stderr
    harmless(done.stdout, rows=words != "logs red")
    harmless(done.stderr, rows=True)
    if "-o json" in words and "watch" not in words and "flows" not in words:
        assert json.loads(done.stdout)
    if words == "graph":
        assert ET.fromstring(done.stdout or "<none/>").tag.endswith("svg"), done.stderr
    if words in {"get leases", "describe instance red"}:
        assert "pwned" in done.stdout, "its words are there"
    if words == "get leases -o json":
        assert {lease["instance"] for lease in json.loads(done.stdout)} == {"red"}, "it speaks for itself only"


@pytest.mark.usefixtures("speaking")
def test_a_terminal_gets_colours_and_nothing_else(rig: Rig, tally: Tally) -> None:
    shown = [words for words in COMMANDS if not words.startswith("watch")]
    tally(len(shown))
    typed = "; ".join(f"{rig.daemon.command} {words}" for words in shown)
    done = rig.host.run(
        ["script", "-qec", typed, "/dev/null"], env={**rig.daemon.environment, "TERM": "xterm"}, check=False
    )
    assert "\x1b[" in done.stdout, "it is a terminal"
    assert "pwned" in done.stdout
    harmless(STYLES.sub("", done.stdout.replace("\r\n", "\n")))


@pytest.mark.usefixtures("speaking")
def test_the_daemon_goes_on_and_says_nothing_in_its_name(rig: Rig, tally: Tally) -> None:
    tally()
    rig.wait_ready("blue")
    assert alive(rig.daemon.pid)
    log = rig.daemon.log()
    harmless(log)
    assert "Traceback" not in log, log[-5000:]


@pytest.mark.usefixtures("speaking")
def test_what_it_counts_is_its_own(rig: Rig, tally: Tally) -> None:
    tally()

    def told(name: str) -> set[int]:
        found = json.loads(rig.daemon.cli("describe", "instance", name, "-o", "json", check=True).stdout)
        return {one["used"] for one in found.get("resources", ()) if one["used"] >= HUGE}

    of_red: set[int] = set()
    of_blue: set[int] = set()
    while len(of_red) < 2:
        of_red |= told("red")
        of_blue |= told("blue")
    assert of_blue == set()


def test_what_it_withdraws_is_nobody_elses(rig: Rig, speaking: subprocess.Popen[str], tally: Tally) -> None:
    tally()
    blue = rig.status("blue")
    speaking.kill()
    speaking.wait(DEADLINE)
    rig.wait_ready("red")  # its manager has the table again, and took out what it hadn't put there
    rig.instances["red"]["dns"] = {"domain": "later.internal"}
    rig.configure()
    conf = rig.daemon.run_dir / "instances/red/dnsmasq.conf"
    wait_until(lambda: "later.internal" in rig.host.read_file(conf), what="a change after that")
    rig.wait_ready("red")
    assert rig.status("blue").since == blue.since, "nothing happened to it"
