"""Uplinks, static routes and IPv6 in config files: what is read, and every mistake with its place and remedy."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubsub.config import Configuration, DefinedUplinks, read_files, validate_all
from pubsub.config.rules_settings import SLOTS
from pubsub.topics import (
    EndpointProbe,
    Ipv6Mode,
    NetworkInstanceConfig,
    NextHopMethod,
    NextHopProbe,
    UplinkConfig,
)
from pubsub.values import Endpoint, Interval
from supervisor import names

EXAMPLE = """
uplinks:
  eth0:
    cost: 5
    labels: [wired, wan]
    dns: [203.0.113.53]
    next_hop: {method: icmp, interval: 500ms, timeout: 0.2, down: 2, up: 5}
    endpoints: [{to: "http://[2001:db8::1]/health", interval: 10}]
  9pfs0:
"""


def read(in_force: DefinedUplinks | None = None, **texts: str) -> Configuration:
    return read_files({f"{name}.yaml": text.encode() for name, text in texts.items()}, uplinks_in_force=in_force)


def said(found: Configuration) -> list[str]:
    """Return the problems as lines of text."""
    return [
        f"{problem.file}:{problem.line} {problem.field} [{problem.value}]: {problem.message}; {problem.remedy}"
        for problem in found.problems
    ]


def test_the_example_is_read() -> None:
    found = read(lab=EXAMPLE)
    assert said(found) == []
    assert found.uplinks["eth0"].config == UplinkConfig(
        cost=5,
        labels=("wired", "wan"),
        dns=found.uplinks["eth0"].config.dns,
        next_hop=NextHopProbe(method=NextHopMethod.ICMP, interval=Interval(0.5), timeout=Interval(0.2), down=2, up=5),
        endpoints=(EndpointProbe(to=Endpoint.parse("http://[2001:db8::1]/health"), interval=Interval(10)),),
    )
    assert (found.uplinks["eth0"].file, found.uplinks["eth0"].line) == ("lab.yaml", 3)
    assert found.uplinks["9pfs0"].config == UplinkConfig()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("all", None), ("", None), ("[]", ()), ("[eth0, wan]", ("eth0", "wan")), ("[9pfs0]", ("9pfs0",))],
)
def test_the_uplinks_of_an_instance_are_all_none_or_a_list_of_names_and_labels(
    text: str, wanted: tuple[str, ...] | None
) -> None:
    found = read(a=f"instances: {{red: {{uplinks: {text}}}}}")
    assert said(found) == []
    assert found.instances["red"].config.uplinks == wanted


BAD_UPLINKS = [
    ("eth0: {cost: 256}", "uplinks.eth0.cost [256]: a cost of 256 is not possible; use 0 to 255"),
    ("eth0: {cost: -1}", "a cost of -1 is not possible"),
    ("eth0: {costs: 1}", "unknown field 'costs'; did you mean 'cost'?"),
    ("eth0: {labels: wan}", "expected a list, got 'wan'; write it in brackets: [wan]"),
    ("eth0: {labels: [all]}", "uplinks.eth0.labels.0 [all]: 'all' stands for every uplink"),
    ("eth0: {labels: [4g]}", "'4g' can't be an uplink's label; begin with a letter"),
    ("eth0: {labels: [a b]}", "'a b' can't be an uplink's label"),
    ("eth0: {labels: [" + "a" * 33 + "]}", "at most 32 characters"),
    ("eth0: {labels: [wan, wan]}", "uplinks.eth0.labels.1 [wan]: label 'wan' stands twice; remove one"),
    ("eth0: {labels: [lo]}", "'lo' can't be an uplink"),
    ("'a b': {}", "'a b' can't be an interface's name"),
    ("an-interface-name: {}", "has 17 characters; use at most 15"),
    ("lo: {}", "'lo' can't be an uplink: it leads nowhere out"),
    ("v-red: {}", "'v-red' can't be an uplink"),
    ("all: {}", "'all' stands for every uplink"),
    ("eth0: {dns: [127.0.0.53]}", "127.0.0.53 can't be asked: it is loopback"),
    ("eth0: {next_hop: {method: ping}}", "unknown NextHopMethod 'ping'; known: arp, icmp, none"),
    ("eth0: {next_hop: {interval: 99ms}}", "an interval of 99ms is not possible; use 100ms to 3600s"),
    ("eth0: {next_hop: {interval: 61m}}", "an interval of 3660s is not possible"),
    ("eth0: {next_hop: {interval: soon}}", "not an interval; write a number and ms, s or m, as 500ms"),
    ("eth0: {next_hop: {interval: [1s]}}", "expected an interval, got a list; write a number and ms, s or m"),
    (
        "eth0: {next_hop: {timeout: 9ms}}",
        "uplinks.eth0.next_hop.timeout [9ms]: a timeout of 9ms is too short; use 10ms",
    ),
    ("eth0: {next_hop: {interval: 500ms}}", "the timeout 1s is longer than the interval 500ms; use 500ms or less"),
    ("eth0: {next_hop: {down: 0}}", "0 in a row is not possible; use 1 to 100"),
    ("eth0: {endpoints: [{to: icmp://198.51.100.1, up: 101}]}", "uplinks.eth0.endpoints.0.up [101]: 101 in a row"),
    ("eth0: {endpoints: [{}]}", "uplinks.eth0.endpoints.0.to []: field 'to' is missing"),
    ("eth0: {endpoints: [icmp://198.51.100.1]}", "expected fields (`name: value`), got 'icmp://198.51.100.1'"),
    ("eth0: {endpoints: [{to: 198.51.100.1}]}", "not an endpoint; write icmp://ADDRESS, tcp://ADDRESS:PORT or http"),
    ("eth0: {endpoints: [{to: http://example.com/}]}", "'example.com' is no address; a probe asks no DNS"),
    (
        "eth0: {endpoints: [{to: tcp://198.51.100.1}]}",
        "a connection needs a port and no path; write tcp://ADDRESS:PORT",
    ),
    ("eth0: {endpoints: [{to: icmp://224.0.0.1}]}", "224.0.0.1 can't be probed: it is no host outside"),
    (
        "eth0: {endpoints: [{to: http://198.51.100.1}, {to: 'http://198.51.100.1:80/'}]}",
        "uplinks.eth0.endpoints.1.to [http://198.51.100.1:80/]: endpoint http://198.51.100.1/ stands twice",
    ),
]


@pytest.mark.parametrize(("text", "wanted"), BAD_UPLINKS, ids=[text for text, _ in BAD_UPLINKS])
def test_a_mistake_in_an_uplink_is_told_and_the_others_count(text: str, wanted: str) -> None:
    found = read(a=f"uplinks:\n  good: {{cost: 7}}\n  {text}\ninstances: {{red: {{}}}}\n")
    assert any(wanted in line for line in said(found)), said(found)
    [name] = found.broken_uplinks
    assert {(problem.line, problem.instance, problem.uplink) for problem in found.problems} == {(3, "", name)}
    assert set(found.uplinks) == {"good"}
    assert set(found.instances) == {"red"}


BAD_INSTANCES = [
    (
        "{uplinks: [all]}",
        "instances.red.uplinks.0 [all]: 'all' in a list would be the name of one uplink; write `uplinks: all`",
    ),
    ("{uplinks: All}", "expected a list or `all`, got 'All'; write it in brackets: [All]"),
    ("{uplinks: [" + "a" * 33 + "]}", "has 33 characters; use at most 15"),
    ("{uplinks: [9-is-too-long-for-an-interface]}", "use at most 15"),
    ("{uplinks: [], balance: true}", "instances.red.balance [true]: there is nothing to balance over"),
    (
        "{mtu: 1279}",
        "instances.red.mtu [1279]: IPv6 doesn't work with an MTU of 1279 bytes; use 1280 or more, or add `ipv6: off`",
    ),
    ("{subnet6: 'fd12::/48'}", "subnet6 fd12::/48 is no /64"),
    ("{subnet6: 'fd12::1/64'}", "fd12::1/64 is an address inside a network; write the network itself: fd12::/64"),
    ("{subnet6: 10.1.0.0/24}", "'10.1.0.0/24' is not an IPv6 network; write PREFIX/PREFIXLEN, as fd12:3456:789a::/64"),
    ("{subnet6: 'ff02::/64'}", "ff02::/64 is multicast; use a unique local network"),
    ("{subnet6: 'fe80::/64'}", "fe80::/64 is link-local"),
    ("{subnet6: '::/64'}", "::/64 is neither a unique local nor a global network"),
    ("{subnet6: 'fd6e:7376:6973::/64'}", "overlaps the link pool fd6e:7376:6973::/64"),
    ("{ipv6: routed}", "instances.red.ipv6 [routed]: `ipv6: routed` needs the prefix"),
    ("{ipv6: none}", "unknown Ipv6Mode 'none'; known: nat, routed, off"),
    ("{dhcp: {v6: stateles}}", "unknown Dhcp6Mode 'stateles'; did you mean 'stateless'?"),
    ("{apps: {a: {ports: ['all:80:80']}}}", "instances.red.apps.a.ports.0 [all:80:80]: 'all' stands for every uplink"),
    ("{apps: {a: {ports: ['lo:80:80']}}}", "'lo' can't be an uplink"),
    ("{apps: {a: {ports: ['4g:80:80']}}}", "not a port map"),
    ("{apps: {a: {ports: ['wan:80:80', 'wan:80:81']}}}", "outer port 80/tcp is already app a's"),
    ("{uplinks: [eth0], apps: {a: {ports: ['80:80', 'eth0:80:81']}}}", "outer port 80/tcp is already app a's"),
    (
        "{uplinks: [eth0], apps: {a: {ports: ['eth1:80:80']}}}",
        "the instance doesn't use uplink 'eth1'; its uplinks: eth0; name one of these, or add eth1 to `uplinks`",
    ),
    (
        "{routes: [{to: 10.20.0.0/16}]}",
        "the route to 10.20.0.0/16 doesn't say by what way; add `via: ADDRESS`, `uplink",
    ),
    ("{routes: [{via: 203.0.113.1}]}", "instances.red.routes.0.to []: field 'to' is missing"),
    ("{routes: [{to: 10.20.0.0/16, app: vpn}]}", "the instance has no app 'vpn'; add it to `apps`; known: none"),
    ("{apps: {vpn: {}}, routes: [{to: 10.20.0.0/16, app: vpn, uplink: wan}]}", "`app` and `uplink` exclude each other"),
    (
        "{apps: {vpn: {}}, routes: [{to: 10.20.0.0/16, app: vpn, via: 203.0.113.1}]}",
        "`app` and `via` exclude each other",
    ),
    ("{apps: {vpn: {}}, routes: [{to: 0.0.0.0/0, app: vpn}]}", "an app can't be the way to everything"),
    (
        "{subnet: 10.1.0.0/16, routes: [{to: 10.1.7.0/24, uplink: wan}]}",
        "instances.red.routes.0.to [10.1.7.0/24]: 10.1.7.0/24 lies in the instance's own subnet 10.1.0.0/16",
    ),
    (
        "{subnet: 10.1.0.0/24, routes: [{to: 10.20.0.0/16, via: 10.1.0.9}]}",
        "10.1.0.9 lies in the instance's own subnet 10.1.0.0/24; a router among the apps is named by `app: NAME`",
    ),
    ("{routes: [{to: 10.20.0.0/16, via: 127.0.0.1}]}", "127.0.0.1 can't be a router: it is loopback"),
    ("{routes: [{to: 10.20.0.0/16, via: 100.127.0.4}]}", "100.127.0.4 lies in the link pool 100.127.0.0/16"),
    ("{routes: [{to: 100.127.3.0/24, uplink: wan}]}", "100.127.3.0/24 lies in the link pool"),
    ("{routes: [{to: 224.0.0.0/8, uplink: wan}]}", "224.0.0.0/8 overlaps 224.0.0.0/4 (multicast)"),
    (
        "{routes: [{to: 10.20.0.0/16, uplink: all}]}",
        "instances.red.routes.0.uplink [all]: 'all' stands for every uplink",
    ),
    ("{uplinks: [], routes: [{to: 10.20.0.0/16, uplink: wan}]}", "a route without `app` needs an uplink"),
    (
        "{routes: [{to: 10.20.0.0/16, uplink: a}, {to: 10.20.0.0/16, uplink: b}]}",
        "instances.red.routes.1.to [10.20.0.0/16]: a route to 10.20.0.0/16 stands in routes.0 already",
    ),
    (
        "{dhcp: {routes: [{to: 10.20.0.0/16, via: 10.1.0.2}]}, routes: [{to: 10.20.0.0/16, uplink: a}]}",
        "a route to 10.20.0.0/16 stands in dhcp.routes already",
    ),
]


@pytest.mark.parametrize(("text", "wanted"), BAD_INSTANCES, ids=[text for text, _ in BAD_INSTANCES])
def test_a_mistake_in_an_instance_is_told(text: str, wanted: str) -> None:
    found = read(a=f"instances:\n  blue: {{}}\n  red: {text}\n")
    assert any(wanted in line for line in said(found)), said(found)
    assert {problem.line for problem in found.problems} == {3}
    assert set(found.instances) == {"blue"}


GOOD_INSTANCES = [
    "{ipv6: off, mtu: 576}",
    "{mtu: 1280}",
    "{ipv6: routed, subnet6: '2001:db8:7::/64', dhcp: {v6: stateful, connected_routes: true}}",
    "{uplinks: [], apps: {vpn: {}}, routes: [{to: 10.20.0.0/16, app: vpn}]}",
    "{uplinks: [eth0], routes: [{to: 10.20.0.0/16, uplink: eth1}]}",
    "{subnet: 10.1.0.0/24, routes: [{to: 10.0.0.0/8, via: 203.0.113.7}]}",
    "{routes: [{to: 0.0.0.0/0, via: 203.0.113.7, uplink: wan}]}",
    "{uplinks: [eth0, eth1], apps: {a: {ports: ['eth0:80:80', 'eth1:80:81', '80:82']}}}",
]


@pytest.mark.parametrize("text", GOOD_INSTANCES)
def test_what_is_possible_is_no_mistake(text: str) -> None:
    assert said(read(a=f"instances: {{red: {text}}}")) == []


@pytest.mark.parametrize(
    ("red", "blue", "wanted"),
    [
        ("{uplinks: [eth0], P80}", "{P80 of eth0}", "port 80/tcp of uplink eth0 is instance red's"),
        ("{P80 of wan}", "{P80 of wan}", "port 80/tcp of uplink wan is instance red's"),
        ("{uplinks: [eth0, eth1], P80}", "{uplinks: [eth1, eth0], P80}", "port 80/tcp of the same uplink"),
        ("{P80}", "{uplinks: all, P80}", "port 80/tcp of the same uplink"),
        ("{P80 of eth0}", "{P80 of eth1}", ""),
        ("{P80 of eth0}", "{P80}", ""),  # may meet, when eth0 is selected for blue
        ("{uplinks: [eth0], P80}", "{uplinks: [eth0, eth1], P80}", ""),
        ("{ipv6: routed, S}", "{ipv6: routed, S}", "subnet6 2001:db8:7::/64 is routed to instance red"),
        ("{ipv6: routed, S}", "{ipv6: nat, S}", ""),
    ],
)
def test_what_two_instances_surely_claim_is_an_error_at_the_second(red: str, blue: str, wanted: str) -> None:
    def whole(text: str) -> str:
        for uplink in ("eth0", "eth1", "wan"):
            text = text.replace(f"P80 of {uplink}", f"apps: {{web: {{ports: ['{uplink}:80:80']}}}}")
        return text.replace("P80", "apps: {web: {ports: ['80:80']}}").replace("S}", "subnet6: '2001:db8:7::/64'}")

    found = read(a=f"instances:\n  red: {whole(red)}\n  blue: {whole(blue)}\n")
    if wanted:
        assert [(problem.line, problem.instance) for problem in found.problems] == [(3, "blue")]
        assert wanted in said(found)[0]
    else:
        assert said(found) == []


def test_a_port_map_may_name_an_uplink_that_the_instance_means_by_a_label() -> None:
    wan = "uplinks: {eth0: {labels: [wan]}, eth1: {}}\n"
    by_label = "instances: {red: {uplinks: [wan], apps: {web: {ports: ['eth0:80:80']}}}}"
    assert said(read(a=wan + by_label)) == []
    assert said(read(a=wan + by_label.replace("[wan]", "[eth0]").replace("eth0:80", "wan:80"))) == []
    assert "doesn't use uplink 'eth1'" in said(read(a=wan + by_label.replace("eth0:80", "eth1:80")))[0]
    assert "doesn't use uplink 'eth0'" in said(read(a=by_label))[0]
    others = "settings: {config_from: [confd, cloud]}\n"  # whose labels nobody knows here
    assert said(read(a=others + by_label)) == []


def test_of_two_files_that_define_an_uplink_the_first_counts() -> None:
    found = read(a="uplinks: {eth0: {cost: 1}}", b="uplinks:\n  eth0: {cost: 2}\n  eth1: {cost: 3}\n")
    assert {name: defined.config.cost for name, defined in found.uplinks.items()} == {"eth0": 1, "eth1": 3}
    wanted = "uplink 'eth0' is already defined in a.yaml, line 1; remove one of the two; the first one counts"
    assert said(found) == [f"b.yaml:2 uplinks.eth0 []: {wanted}"]
    assert {(problem.instance, problem.uplink) for problem in found.problems} == {("", "eth0")}


def test_an_uplink_and_an_instance_may_have_one_name() -> None:
    found = read(a="uplinks: {red: {}}\ninstances: {red: {}}")
    assert said(found) == []
    assert (set(found.uplinks), set(found.instances)) == ({"red"}, {"red"})


def costs(found: Configuration, before: DefinedUplinks) -> dict[str, int]:
    return {name: defined.config.cost for name, defined in found.effective_uplinks(before).items()}


def test_a_broken_uplink_keeps_its_last_good_config_and_a_deleted_one_goes() -> None:
    first = read(a="uplinks: {eth0: {cost: 1}, eth1: {cost: 1}, eth2: {}}").uplinks
    second = read(first, a="uplinks: {eth0: {cost: x}, eth1: {cost: 2}}")
    assert costs(second, first) == {"eth0": 1, "eth1": 2}
    unreadable = read(first, a="uplinks: {")
    assert costs(unreadable, first) == {"eth0": 1, "eth1": 1, "eth2": 0}
    mistyped = read(first, a="uplink: {eth0: {}}")
    assert "did you mean 'uplinks'?" in said(mistyped)[0]
    assert set(mistyped.effective_uplinks(first)) == {"eth0", "eth1", "eth2"}


def test_the_labels_of_a_broken_uplink_still_hold() -> None:
    first = read(a="uplinks: {eth0: {labels: [wan]}}").uplinks
    instance = "instances: {red: {uplinks: [wan], apps: {web: {ports: ['eth0:80:80']}}}}"
    second = read(first, a="uplinks: {eth0: {cost: x, labels: [wan]}}\n" + instance)
    assert [problem.field for problem in second.problems] == ["uplinks.eth0.cost"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{link_pool6: 'fd00::/120'}", "settings.link_pool6 [fd00::/120]: the pool fd00::/120 is too small"),
        ("{link_pool6: 'fd00::/116'}", "use a /115 or larger, or a smaller link_pool"),
        ("{link_pool: 100.100.0.0/28, link_pool6: 'fd00::/124'}", "use a /123 or larger, or a smaller link_pool"),
        ("{subnet_pool6: 'fd00::/53'}", "use a /52 or larger, or a smaller link_pool"),
        ("{link_pool6: 'fe80::/64'}", "fe80::/64 is link-local"),
        ("{subnet_pool6: 'ff00::/48'}", "ff00::/48 is multicast"),
        ("{subnet_pool6: '::/0'}", "::/0 is neither a unique local nor a global network"),
        ("{link_pool6: 'fd00:0:0:5::/64', subnet_pool6: 'fd00::/48'}", "overlaps link_pool6 fd00:0:0:5::/64"),
    ],
)
def test_the_ipv6_pools_are_checked(text: str, wanted: str) -> None:
    found = read(a=f"settings: {text}")
    assert found.settings is None
    assert any(wanted in line for line in said(found)), said(found)


def test_small_pools_do_where_the_link_pool_is_small_too() -> None:
    small = "settings: {link_pool: 100.100.0.0/28, link_pool6: 'fd00::/123', subnet_pool6: '2001:db8:7::/61'}"
    assert said(read(a=small)) == []
    assert said(read(a="settings: {link_pool: 100.64.0.0/10}")) == []  # more than there are uids for


def test_the_pools_hold_the_last_instance_that_there_are_uids_for() -> None:
    assert SLOTS == names.SLOTS
    last = names.SLOTS - 1
    links, subnets = IPv6Network("fd00::/115"), IPv6Network("fd01::/52")
    assert names.link_addresses6(links, last)[1] in links
    assert names.subnet6(subnets, last).subnet_of(subnets)


def test_routed_prefixes_meet_no_ipv4_ones() -> None:
    plain = NetworkInstanceConfig(subnet=IPv4Network("10.1.0.0/24"), ipv6=Ipv6Mode.OFF)
    assert validate_all({"red": plain, "blue": plain}, {}) == ()


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\" \n\t#,?0x.~"), max_size=60))
def test_no_text_in_an_uplink_raises(text: str) -> None:
    read(a="uplinks:\n  eth0: " + text)
