"""The values and messages of uplinks come back equal from files and from the wire."""

from __future__ import annotations

from ipaddress import IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from pubsub import codec
from pubsub.topics import (
    AppConfig,
    EndpointProbe,
    Ipv6Mode,
    NetworkInstanceConfig,
    NextHopProbe,
    StaticRoute,
    UplinkConfig,
)
from pubsub.values import Endpoint, Interval, PortMap

words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.@-]{0,31}", fullmatch=True)
ports = st.builds(
    PortMap, st.integers(1, 65535), st.integers(1, 65535), st.sampled_from(["tcp", "udp"]), st.just("") | words
)
addresses = st.ip_addresses()
endpoints = st.one_of(
    st.builds(lambda address: Endpoint("icmp", address, 0, ""), addresses),
    st.builds(lambda address, port: Endpoint("tcp", address, port, ""), addresses, st.integers(1, 65535)),
    st.builds(
        lambda address, port, path: Endpoint("http", address, port, f"/{path}"),
        addresses,
        st.integers(1, 65535),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
    ),
)
intervals = st.integers(0, 10**7).map(lambda milliseconds: Interval(milliseconds / 1000))


@given(endpoints)
def test_endpoints_are_read_as_they_are_written(endpoint: Endpoint) -> None:
    probe = EndpointProbe(to=endpoint)
    assert codec.decode(EndpointProbe, codec.encode(probe)) == probe


@given(intervals)
def test_intervals_are_read_as_they_are_written(interval: Interval) -> None:
    assert Interval.parse(str(interval)) == interval
    assert codec.from_plain(NextHopProbe, {"interval": float(interval)}).interval == interval


@given(ports)
def test_port_maps_by_uplink_are_read_as_they_are_written(port: PortMap) -> None:
    config = AppConfig(ports=(port,))
    found = codec.decode(AppConfig, codec.encode(config))
    assert found == config
    assert (found.ports[0].uplink, found.ports[0].outer) == (port.uplink, port.outer)


@given(st.builds(UplinkConfig, cost=st.integers(0, 255), next_hop=st.builds(NextHopProbe, interval=intervals)))
def test_uplinks_come_back_equal_from_the_wire_and_from_plain_values(config: UplinkConfig) -> None:
    assert codec.decode(UplinkConfig, codec.encode(config)) == config
    assert codec.from_plain(UplinkConfig, codec.to_plain(config)) == config
    assert codec.from_plain(UplinkConfig, codec.to_plain(config, sparse=True)) == config


@given(st.text(max_size=40))
def test_no_text_makes_an_endpoint_or_interval_raise_anything_but_a_value_error(text: str) -> None:
    for type_ in (Endpoint, Interval, PortMap):
        try:
            assert str(type_.parse(str(type_.parse(text)))) == str(type_.parse(text))
        except ValueError:
            continue


def test_static_routes_come_back_equal() -> None:
    route = StaticRoute(to=IPv4Network("10.20.0.0/16"), uplink="wan")
    config = NetworkInstanceConfig(routes=(route,), ipv6=Ipv6Mode.OFF)
    assert codec.decode(NetworkInstanceConfig, codec.encode(config)) == config
    assert codec.from_plain(NetworkInstanceConfig, codec.to_plain(config, sparse=True)) == config
