"""Who may write an instance's config gets nothing executed, and nothing said in another's name.

Every text field of the schema gets every word: it is refused in words, or it is harmless in the kernel, in what the
services read, and on the disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pubsub.config import Configuration, read_files
from supervisor.printable import in_line
from tests.attack.author import CANARY, GOOD, INJECTIONS, Place, around, places, with_word
from tests.attack.conftest import Tally
from tests.hosts import Daemon, Topology, wait_until

PLACES = tuple(dict.fromkeys(places()))
SECRET = "a secret of root's"


def read(config: dict[str, Any]) -> Configuration:
    return read_files({"a.yaml": json.dumps(config).encode()})


def accepted(place: Place) -> Iterator[str]:
    """Yield the words that the rules let through at a place."""
    for word in INJECTIONS.values():
        config = with_word(place, word)
        if config is not None and not read(config).problems:
            yield word


def test_every_text_of_the_schema_has_a_good_value() -> None:
    assert not read(yaml.safe_load(GOOD.read_text())).problems
    assert [place for place in PLACES if with_word(place, "") is None] == []
    assert [place for place in PLACES if read(around(place)).problems] == []


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_what_is_refused_is_told_in_words(place: Place, tally: Tally) -> None:
    tally(len(INJECTIONS))
    for what, word in INJECTIONS.items():
        config = with_word(place, word)
        assert config is not None
        for problem in read(config).problems:
            words = (problem.message, problem.remedy)
            assert all(words) and problem.line, (what, problem)
            assert problem.field or "not YAML" in problem.message, (what, problem)
            assert len("".join(map(in_line, words))) < 1000, what


CONTAINERS = {"apps": "apps", "connections": "vpn.connections"}


def hostile() -> dict[str, Any]:
    """Return one config with every word that the rules let through, each in an entry of its own."""
    whole: dict[str, Any] = yaml.safe_load(GOOD.read_text())
    for name in ("tap", "link"):
        del whole["instances"]["red"]["apps"][name]
    del whole["instances"]["red"]["apps"]["web"]["attach"], whole["instances"]["wire"], whole["uplinks"]
    number = 0
    for place in PLACES:
        for word in accepted(place):
            if word and place[-1] != "link":  # one of that name is asked for as a tap
                number += 1
                _add(whole, place, word, number)
    return whole


def _add(whole: dict[str, Any], place: Place, word: str, number: int) -> None:
    config = with_word(place, word)
    assert config
    if place[0] != "instances":
        whole.setdefault(place[0], {}).update(config[place[0]])
        return
    ((owner, instance),) = config["instances"].items()
    target = whole["instances"][owner] if owner in whole["instances"] else whole["instances"]["plant"]
    if "apps" in place[2:3]:
        app = next(one for one in instance["apps"].values() if word in json.loads(json.dumps(_texts(one))))
        app["rules"] = [rule for rule in app.get("rules", ()) if word in _texts(rule)]
        target["apps"][f"w{number}"] = {field: value for field, value in app.items() if value}
    elif "connections" in place:
        tunnel = next(one for one in instance["vpn"]["connections"].values() if word in _texts(one))
        tunnel |= {"remote": f"203.0.113.{number % 200 + 1}", "remote_subnets": [f"172.16.{number}.0/24"]}
        target["vpn"]["connections"][f"w{number}"] = tunnel
    else:
        whole["instances"][f"w{number}"] = instance | {"subnet": f"10.200.{number}.0/24"}


def _texts(value: Any) -> list[str]:
    """Return all texts of a value, at any depth."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon that has taken all of it."""
    with Topology(ipv6=True) as topology:
        host = topology.host
        for file in ("cloud", "plant.crt", "plant.key", "ca.crt"):
            host.put_file(f"/etc/nsvisor/secrets/{file}", SECRET, mode=0o600)
        with Daemon(host, {"instances": {"blue": {"subnet": "10.9.0.0/24"}}}) as made:
            made.wait_ready("blue")
            made.configure(hostile(), "hostile.yaml")
            wait_until(lambda: {"red", "plant"} <= {one["name"] for one in made.get()}, what="the hostile instances")
            apps = "cat /run/nsvisor/instances/red/dnsmasq.apps || true"
            wait_until(lambda: ",w" in made.host.sh(apps), what="red's apps")
            yield made


def test_what_is_accepted_is_harmless(daemon: Daemon, tally: Tally) -> None:
    words = [word for place in PLACES for word in accepted(place) if word]
    tally(len(words))
    assert len(words) > 50
    host = daemon.host
    known = daemon.cli("describe", "instance", "red", "-o", "json", check=True).stdout
    assert "pwned" in known, "the words are there"
    daemon.wait_ready("blue")
    # 1. Nothing was executed, and no path led elsewhere.
    assert host.sh(f"ls -d {CANARY} /etc/pwned /etc/nsvisor/pwned /var/lib/pwned 2>/dev/null || true") == ""
    names = "find /run /etc/nsvisor /var/lib /tmp -xdev -name '*pwned*' 2>/dev/null || true"
    assert [one for one in host.sh(names).split() if "@pwned" not in one] == []
    # 2. The kernel has our tables and links only.
    for netns in ("", "red", "plant"):
        assert "pwned" not in host.sh("nft list ruleset", netns=netns)
        assert "pwned" not in host.sh("ip link; ip rule; ip route show table all", netns=netns)
    # 3. The services read nothing but what is theirs to read, and answer as they should.
    for instance in ("red", "plant"):
        for file in host.sh(f"ls /run/nsvisor/instances/{instance}").split():
            if file.startswith(("dnsmasq.", "radvd.", "charon.")) and file != "charon.vici":
                found = host.read_file(f"/run/nsvisor/instances/{instance}/{file}")
                assert not any(bad in found for bad in ("pwned", "192.0.2.66", "/etc/shadow", "touch")), (file, found)
    said = host.run(["busybox", "nslookup", "bank.example.test", "10.1.0.1"], netns="red", check=False).stdout
    assert "192.0.2.66" not in said
    # 4. No file of root's was handed out.
    for path in host.path("/run/nsvisor/instances").glob("*/vpn-*"):
        assert path.read_text() == SECRET, path
    # 5. The daemon is the same, and has told what it can't do.
    assert "Traceback" not in daemon.log(), daemon.log()[-5000:]
    assert "\x1b" not in daemon.log()


def test_the_taken_words_are_told_as_they_are(daemon: Daemon, tally: Tally) -> None:
    """charon knows each identity whole, and has made no other connection of it."""
    tally()
    uri = "unix:///run/nsvisor/instances/plant/charon.vici"
    wanted = set(accepted(("instances", "{}", "vpn", "connections", "{}", "remote_id"))) - {""}

    def told() -> bool:
        listed = daemon.host.run(["swanctl", "--list-conns", "--uri", uri]).stdout
        missing = [word for word in wanted if word.removeprefix("@") not in listed]  # @: a name, whatever it looks like
        assert not missing, (missing, listed[-2000:])
        return True

    wait_until(told, what="charon has all connections")
