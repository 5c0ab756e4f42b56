"""Which probes an uplink has, and what their tracks say of its health."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import msgspec
import pytest

from pubsub.topics import EndpointProbe, NextHopMethod, NextHopProbe, UplinkConfig
from pubsub.values import Endpoint, Interval
from supervisor.facts import Health, Uplink, UplinkRoute
from supervisor.probing.health import judge, status
from supervisor.probing.probes import Kind, Target, probes
from supervisor.probing.track import Result, Track, advance

ANY, ANY6 = IPv4Network("0.0.0.0/0"), IPv6Network("::/0")
UPLINK = Uplink(
    ifname="eth0",
    ifindex=2,
    up=True,
    mac="02:00:00:00:00:01",
    addresses=(IPv4Interface("10.0.0.2/24"), IPv4Interface("192.168.0.2/24")),
    addresses6=(IPv6Interface("2001:db8::2/64"),),
    routes=(
        UplinkRoute(ANY, IPv4Address("192.168.0.1")),
        UplinkRoute(ANY, IPv4Address("10.0.0.1"), metric=10),
        UplinkRoute(ANY, IPv4Address("192.168.0.1"), metric=20),
        UplinkRoute(ANY6, IPv6Address("fe80::1")),
    ),
)
TCP, WEB = "tcp://198.51.100.1:443", "http://198.51.100.1/"


def endpoints(*to: str) -> UplinkConfig:
    found = tuple(EndpointProbe(to=Endpoint.parse(text)) for text in to)
    return UplinkConfig(next_hop=NextHopProbe(method=NextHopMethod.NONE), endpoints=found)


def after(*errors: str) -> Track:
    """Return the track of a probe with these results; an empty text is an answer."""
    track, counts = Track(), probes(Target(UPLINK, UplinkConfig()))[0].counts
    for number, error in enumerate(errors):
        track = advance(track, Result(error=error) if error else Result(latency=2.0), counts, 1000.0 + number)
    return track


def health(config: UplinkConfig, *tracks: Track) -> Health:
    return judge(zip(probes(Target(UPLINK, config)), tracks, strict=True))


def test_each_gateway_is_asked_once_by_its_family_from_the_address_next_to_it() -> None:
    found = probes(Target(UPLINK, UplinkConfig()))
    assert [(probe.kind, str(probe.address), str(probe.way.sources[0])) for probe in found] == [
        (Kind.ARP, "192.168.0.1", "192.168.0.2"),
        (Kind.ARP, "10.0.0.1", "10.0.0.2"),
        (Kind.ND, "fe80::1", "2001:db8::2"),
    ]
    assert [probe.name for probe in found] == ["next hop 192.168.0.1", "next hop 10.0.0.1", "next hop fe80::1"]
    echoes = probes(Target(UPLINK, UplinkConfig(next_hop=NextHopProbe(method=NextHopMethod.ICMP))))
    assert {probe.kind for probe in echoes} == {Kind.ECHO}
    assert not {probe.key for probe in echoes} & {probe.key for probe in found}


@pytest.mark.parametrize("mac", ["", "c0:00:02:01"])
def test_a_link_without_ethernet_addresses_has_no_arp(mac: str) -> None:
    assert not probes(Target(msgspec.structs.replace(UPLINK, mac=mac), UplinkConfig()))


def test_an_endpoint_is_asked_from_the_address_next_to_the_gateway() -> None:
    (probe,) = probes(Target(UPLINK, endpoints(TCP, TCP)))
    assert (probe.kind, probe.name, probe.key) == (Kind.TCP, TCP, f"eth0 {TCP}")
    assert str(probe.way.sources[0]) == "192.168.0.2"


def test_what_a_probe_does_not_depend_on_leaves_it_equal() -> None:
    changed = msgspec.structs.replace(UPLINK, mtu=1400, resolvers=(IPv4Address("192.0.2.1"),), forwarded=True)
    config = msgspec.structs.replace(UplinkConfig(), cost=7, labels=("lte",))
    assert probes(Target(changed, config)) == probes(Target(UPLINK, UplinkConfig()))
    assert probes(Target(msgspec.structs.replace(UPLINK, ifindex=3), config)) != probes(Target(UPLINK, config))


def test_what_was_not_probed_yet_is_healthy() -> None:
    assert health(UplinkConfig(), Track(), Track(), Track()) == Health()
    assert health(endpoints(TCP, WEB), Track(), Track()) == Health(endpoints_up=2)
    assert health(endpoints()) == Health()


def test_one_gateway_that_answers_is_enough_and_so_is_one_endpoint() -> None:
    bad = after(*["no ARP reply within 1s"] * 4)
    assert health(UplinkConfig(), bad, after(""), bad).healthy
    assert health(endpoints(TCP, WEB), bad, after("")) == Health(endpoints_up=1)


def test_the_reason_names_the_gateway_and_what_it_said() -> None:
    bad = after("", *["no ARP reply within 1s"] * 4)
    assert health(UplinkConfig(), bad, bad, bad) == Health(
        False,
        0,
        "gateway 192.168.0.1 is silent (4 of 4 probes lost): no ARP reply within 1s; "
        "gateway 10.0.0.1 is silent (4 of 4 probes lost): no ARP reply within 1s; "
        "gateway fe80::1 is silent (4 of 4 probes lost): no ARP reply within 1s",
    )
    sudden = after(*[""] * 40, "no ARP reply within 1s")
    assert "192.168.0.1 is silent (1 of 4 probes lost)" in health(UplinkConfig(), sudden, bad, bad).reason


def test_the_reason_names_the_endpoints_and_what_each_said() -> None:
    refused, status503 = after(*["connection refused"] * 4), after(*["HTTP status 503"] * 4)
    assert health(endpoints(TCP, WEB), refused, status503) == Health(
        False, 0, f"no endpoint answers: {TCP}: connection refused; {WEB}: HTTP status 503"
    )
    many = health(endpoints(*(f"tcp://198.51.100.1:{port}" for port in range(1, 11))), *[refused] * 10)
    assert many.reason.endswith("tcp://198.51.100.1:3: connection refused; 7 more")


def test_one_that_answers_again_but_not_for_long_enough_has_a_reason_that_stays() -> None:
    again = [after(*["no connection within 3s"] * 4, *[""] * count) for count in (1, 2)]
    found = {health(endpoints(TCP), track) for track in again}
    assert found == {Health(False, 0, f"no endpoint answers: {TCP}: answers again, but not yet 3 times in a row")}
    assert health(endpoints(TCP), after(*["no connection within 3s"] * 4, "", "", "")).healthy


def test_a_status_tells_all_that_is_known() -> None:
    (probe,) = probes(Target(UPLINK, endpoints(TCP)))
    told = status(probe, after("", "connection refused"))
    assert (told.name, told.up, told.latency, told.since, told.error) == (TCP, True, 2.0, 1000.0, "connection refused")
    assert told.history == (2.0, -1.0)


def test_an_interval_of_zero_is_not_taken_at_its_word() -> None:
    config = EndpointProbe(to=Endpoint.parse(TCP), interval=Interval(0.0), down=0, up=0)
    (probe,) = probes(
        Target(UPLINK, UplinkConfig(next_hop=NextHopProbe(method=NextHopMethod.NONE), endpoints=(config,)))
    )
    assert probe.interval > 0
    assert (probe.counts.down, probe.counts.up) == (1, 1)
