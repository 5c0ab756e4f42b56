"""Config files become messages; every mistake is told with file, line, field, value and remedy."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubsub.config import Configuration, read_files
from pubsub.topics import NetworkInstanceConfig
from pubsub.values import Duration, PortMap

ISSUE_EXAMPLE = """
instances:
  red:
    subnet: 10.1.0.0/24
    dns: {domain: red.internal, hosts: {printer: 10.1.0.9}}
    apps:
      web: {address: 10.1.0.80, ports: ["8080:80/tcp"]}
  blue:
    subnet: 10.1.0.0/24        # the same, on purpose
"""


def read(**texts: str) -> Configuration:
    return read_files({f"{name}.yaml": text.encode() for name, text in texts.items()})


def config(text: str) -> NetworkInstanceConfig:
    found = read(a="instances: {red: " + text + "}")
    assert found.problems == ()
    return found.instances["red"].config


def said(found: Configuration) -> list[str]:
    """Return the problems as lines of text."""
    return [
        f"{problem.file}:{problem.line} {problem.field} [{problem.value}]: {problem.message}; {problem.remedy}"
        for problem in found.problems
    ]


def test_the_example_is_read() -> None:
    found = read(lab=ISSUE_EXAMPLE)
    assert found.problems == ()
    red = found.instances["red"]
    assert (red.file, red.line) == ("lab.yaml", 3)
    assert red.config.subnet == found.instances["blue"].config.subnet == IPv4Network("10.1.0.0/24")
    assert red.config.apps["web"].ports == (PortMap.parse("8080:80/tcp"),)
    assert red.config.dns.hosts == {"printer": IPv4Address("10.1.0.9")}


def test_an_empty_instance_an_empty_file_and_an_empty_list_mean_the_defaults() -> None:
    found = read(a="", b="# nothing\n", c="instances:\n  red:\n", d="instances:\n")
    assert found.problems == ()
    assert found.instances["red"].config == NetworkInstanceConfig()
    assert config("{uplinks: []}").uplinks == ()
    assert config("{uplinks: }").uplinks is None
    assert config("{apps: {web: }}").apps["web"].ports == ()


def test_texts_that_yaml_would_read_as_numbers_or_truths_stay_texts() -> None:
    red = config("{apps: {no: {ports: [8080:22, 53:53/udp], mac: 02:11:22:33:44:55}}, dhcp: {lease_time: 300}}")
    assert red.apps["no"].ports == (PortMap.parse("8080:22"), PortMap.parse("53:53/udp"))
    assert red.apps["no"].mac == "02:11:22:33:44:55"
    assert red.dhcp.lease_time == Duration(300)
    assert "on" in read(a="instances: {on: {}}").instances


def test_anchors_merges_and_several_documents_work() -> None:
    text = "x-small: &small {mtu: 1400}\ninstances:\n  red: {<<: *small}\n---\ninstances: {blue: {}}\n"
    found = read(a=text)
    assert found.problems == ()
    assert found.instances["red"].config.mtu == 1400
    assert "blue" in found.instances


BAD = [
    (
        "{subnett: 10.1.0.0/24}",
        "a.yaml:3 instances.red.subnett [10.1.0.0/24]: unknown field 'subnett'; did you mean 'subnet'?",
    ),
    ("{subnet: 10.1.0.7/24}", "10.1.0.7/24 is an address inside a network; write the network itself: 10.1.0.0/24"),
    ("{subnet: fe80::/64}", "'fe80::/64' is not an IPv4 network; write ADDRESS/PREFIXLEN, as 10.1.0.0/24"),
    ("{subnet: [10.1.0.0/24]}", "expected an IPv4 network, got a list"),
    ("{subnet: 10.1.0.0/31}", "subnet 10.1.0.0/31 is too small"),
    ("{subnet: 127.0.0.0/24}", "127.0.0.0/24 overlaps 127.0.0.0/8 (loopback)"),
    ("{subnet: 100.64.0.0/10}", "overlaps the link pool 100.127.0.0/16"),
    ("{mtu: '1500'}", "'1500' is not a whole number; write it without quotes: 1500"),
    ("{mtu: 9223372036854775808}", "9223372036854775808 has more than 64 bits"),
    ("{mtu: 100}", "an MTU of 100 bytes is not possible; use 576 to 65535"),
    ("{type: locall}", "unknown InstanceType 'locall'; did you mean 'local'?"),
    ("{uplinks: eth0}", "expected a list or `all`, got 'eth0'; write it in brackets: [eth0]"),
    ("{uplinks: ['eth0; reboot']}", "'eth0; reboot' can't be an interface's name"),
    ("{uplinks: [eth0, eth0]}", "uplink 'eth0' stands twice"),
    ("{uplinks: [lo]}", "'lo' can't be an uplink"),
    ("{uplinks: [0-interface-name]}", "has 16 characters; use at most 15"),
    ("{address: 10.1.0.1}", "address 10.1.0.1 needs a subnet that holds it"),
    ("{subnet: 10.1.0.0/24, address: 10.2.0.1}", "10.2.0.1 is outside the subnet 10.1.0.0/24; use an address from"),
    ("{subnet: 10.1.0.0/24, address: 10.1.0.255}", "10.1.0.255 is the broadcast address of 10.1.0.0/24"),
    ("{subnet: 10.1.0.0/24, apps: {a: {address: 10.1.0.0}}}", "10.1.0.0 is the network address"),
    ("{subnet: 10.1.0.0/24, apps: {a: {address: 10.1.0.1}}}", "10.1.0.1 is the bridge's address"),
    ("{subnet: 10.1.0.0/24, apps: {a: {address: 10.1.0.9}, b: {address: 10.1.0.9}}}", "10.1.0.9 is app a's address"),
    ("{apps: {a: {address: 10.1.0.9}}}", "address 10.1.0.9 needs a subnet"),
    ("{apps: {web_1: {}}}", "'web_1' can't be an app's name"),
    ("{apps: {a-very-long-name: {}}}", "'a-very-long-name' can't be an app's name"),
    ("{apps: {a: {ports: ['80']}}}", "not a port map; write OUTER:INNER/PROTOCOL, as 8080:80/tcp"),
    ("{apps: {a: {ports: ['80:80/sctp']}}}", "unknown protocol 'sctp'; known: tcp, udp"),
    ("{apps: {a: {ports: ['80:80']}, b: {ports: ['80:81']}}}", "outer port 80/tcp is already app a's"),
    ("{uplinks: [], apps: {a: {ports: ['80:80']}}}", "a port map needs an uplink"),
    ("{apps: {a: {mac: '01:00:00:00:00:00'}}}", "a multicast MAC address"),
    ("{apps: {a: {mac: '02:00:00:00:00:01'}, b: {mac: '02:00:00:00:00:01'}}}", "is app a's MAC address"),
    ("{apps: {a: {attach: {}}}}", "expected exactly one of container, netns, tap, link; got none"),
    ("{apps: {a: {attach: {container: 5, tap: t0}}}}", "got container and tap"),
    ("{apps: {a: {attach: {container: 0}}}}", "0 is no pid"),
    ("{apps: {a: {attach: {tap: t0}}, b: {attach: {tap: t0}}}}", "tap t0 is app a's"),
    ("{apps: [a]}", "expected fields (`name: value`), got a list"),
    ("{dhcp: {lease_time: 1s}}", "a lease time of 1s is not possible; use 2m or more"),
    ("{subnet: 10.1.0.0/24, dhcp: {range: 10.1.0.9-10.1.1.9}}", "10.1.1.9 is outside the subnet"),
    ("{dhcp: {range: 10.1.0.9-10.1.0.19}}", "needs a subnet that holds it"),
    ("{dhcp: {routes: [{to: 10.0.0.0/8}]}}", "field 'via' is missing; add `via: …`"),
    ('{dns: {domain: "a\\nserver=8.8.8.8"}}', "can't be a domain name"),
    ("{dns: {domain: no}}", "'no' is not text; write it in quotes"),
    ("{dns: {hosts: {'a b': 10.1.0.1}}}", "'a b' can't be a host name"),
    ("{dns: {hosts: {a: b}}}", "'b' is not an IPv4 address"),
    ("{mtu: 1400, mtu: 1500}", "'mtu' stands twice; the first is in line 3; remove one of them"),
    ("5", "expected fields (`name: value`), got '5'"),
]


@pytest.mark.parametrize(("text", "wanted"), BAD, ids=[text for text, _ in BAD])
def test_a_mistake_is_told_and_the_other_instance_served(text: str, wanted: str) -> None:
    found = read(a=f"instances:\n  blue: {{}}\n  red: {text}\n")
    assert any(wanted in line for line in said(found)), said(found)
    assert all(problem.instance == "red" and problem.line == 3 and problem.remedy for problem in found.problems)
    assert set(found.instances) == {"blue"}
    assert found.broken == {"red": "a.yaml"}


@pytest.mark.parametrize("name", ["Red", "red_1", "-red", "red-", "a.b", "a/b", "..", "fourteen-chars", "r d", "ré"])
def test_a_name_that_cannot_be_a_namespace_and_an_interface_is_refused(name: str) -> None:
    found = read(a=f"instances:\n  '{name}': {{}}\n")
    assert name in found.broken
    assert found.problems[0].line == 2


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    text = "instances:\n  red:\n    mtu: x\n    subnet: y\n    apps:\n      web:\n        port: 1\n"
    found = read(a=text)
    assert [(problem.line, problem.field) for problem in found.problems] == [
        (3, "instances.red.mtu"),
        (4, "instances.red.subnet"),
        (7, "instances.red.apps.web.port"),
    ]
    assert [problem.value for problem in found.problems] == ["x", "y", "1"]


def test_of_two_files_that_define_an_instance_the_first_counts() -> None:
    found = read(a="instances: {red: {mtu: 1400}}", b="instances:\n  red: {mtu: 1300}\n")
    assert found.instances["red"].config.mtu == 1400
    wanted = "instance 'red' is already defined in a.yaml, line 1; remove one of the two; the first one counts"
    assert said(found) == [f"b.yaml:2 instances.red []: {wanted}"]


def test_an_outer_port_of_the_same_uplink_belongs_to_one_instance() -> None:
    port = "apps: {web: {ports: ['80:80']}}"
    found = read(a=f"instances:\n  red: {{{port}}}\n  blue: {{{port}}}\n  far: {{uplinks: [eth1], {port}}}\n")
    assert set(found.instances) == {"red", "far"}
    assert "port 80/tcp of the same uplink is instance red's" in said(found)[0]
    assert found.problems[0].field == "instances.blue.apps.web.ports.0"


def test_a_tap_belongs_to_one_instance() -> None:
    tap = "apps: {vm: {attach: {tap: t0}}}"
    assert set(read(a=f"instances: {{red: {{{tap}}}, blue: {{{tap}}}}}").broken) == {"blue"}


@pytest.mark.parametrize(
    ("text", "line", "wanted"),
    [
        ("instances: [\n", 1, "not YAML"),
        ("instances:\n\tred: {}\n", 2, "indent with spaces"),
        ("- red\n", 1, "expected fields"),
        ("instance: {red: {}}\n", 1, "did you mean 'instances'?"),
        ("a: 1\n---\n{", 3, "not YAML"),
        ("[" * 100_000, 1, "nested too deeply"),
        ("red: \x07\n", 1, "a character that YAML doesn't allow"),
        ("? [a]\n: b\n", 2, "a key that is no plain name"),
        ("a: !!python/object:os.system {}\n", 1, "unknown field"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_and_doubtful(text: str, line: int, wanted: str) -> None:
    found = read(a=text, b="instances: {blue: {}}")
    assert found.doubtful == {"a.yaml"}
    assert wanted in said(found)[0]
    assert found.problems[0].line == line
    assert set(found.instances) == {"blue"}


def test_a_file_that_is_not_utf8_or_cannot_be_opened_is_doubtful() -> None:
    found = read_files({"a.yaml": b"a\n\xff", "b.yaml": PermissionError(13, "Permission denied")})
    assert found.doubtful == {"a.yaml", "b.yaml"}
    assert [problem.line for problem in found.problems] == [2, 0]
    assert "can't be read: Permission denied" in said(found)[1]


def test_a_cycle_and_a_bomb_of_aliases_end() -> None:
    assert read(a="instances: {red: {apps: &a {x: *a}}}").broken
    bomb = "x-0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"x-{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    found = read(a=bomb + "instances: {red: {uplinks: *a8}}\n")
    assert found.broken


def test_settings_are_read_and_checked() -> None:
    found = read(a="settings: {link_pool: 100.64.0.0/16, config_from: [confd, cloud]}")
    assert found.settings is not None
    assert found.settings.config_from == ("confd", "cloud")
    broken = read(a="settings: {link_pool: 10.64.0.0/16}")
    assert broken.settings is None
    assert "overlaps link_pool" in said(broken)[0]
    twice = read(a="settings: {}", b="settings: {}")
    assert "settings are already in a.yaml, line 1" in said(twice)[0]


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\" \n\t#,?0x.~"), max_size=60))
def test_no_text_raises(text: str) -> None:
    read(a="instances:\n  red: " + text)
    read(a=text)


@given(st.binary(max_size=60))
def test_no_bytes_raise(data: bytes) -> None:
    read_files({"a.yaml": data})
