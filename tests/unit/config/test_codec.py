"""Messages become msgpack and plain values, and come back equal."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import msgpack  # type: ignore[import-untyped]  # ships no types
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubsub import codec, topics
from pubsub.topics import AppConfig, Attachment, DhcpConfig, Lease, NetworkInstanceConfig
from pubsub.values import AddressRange, Duration, MacAddress, PortMap

FULL = NetworkInstanceConfig(
    subnet=IPv4Network("10.1.0.0/24"),
    uplinks=(),
    dhcp=DhcpConfig(range=AddressRange.parse("10.1.0.100-10.1.0.199"), lease_time=Duration(90)),
    apps={
        "web": AppConfig(
            address=IPv4Address("10.1.0.80"),
            mac=MacAddress("02:00:00:00:00:01"),
            ports=(PortMap.parse("8080:80"),),
            attach=Attachment(tap="tap0"),
        )
    },
)


def test_a_message_comes_back_equal_from_msgpack_and_from_plain_values() -> None:
    assert codec.decode(NetworkInstanceConfig, codec.encode(FULL)) == FULL
    assert codec.from_plain(NetworkInstanceConfig, codec.to_plain(FULL)) == FULL
    assert codec.from_plain(NetworkInstanceConfig, codec.to_plain(FULL, sparse=True)) == FULL


def test_values_travel_as_their_text_that_any_msgpack_library_reads() -> None:
    web = msgpack.unpackb(codec.encode(FULL))["apps"]["web"]
    assert web == {
        "address": "10.1.0.80",
        "mac": "02:00:00:00:00:01",
        "ports": ["8080:80/tcp"],
        "attach": {"tap": "tap0"},
    }
    assert msgpack.unpackb(codec.encode(FULL))["dhcp"] == {"range": "10.1.0.100-10.1.0.199", "lease_time": "90s"}


def test_the_plain_form_has_every_field_and_the_sparse_one_only_what_differs_from_the_defaults() -> None:
    assert codec.to_plain(NetworkInstanceConfig(), sparse=True) == {}
    assert codec.to_plain(NetworkInstanceConfig())["dhcp"]["lease_time"] == "12h"
    assert set(codec.to_plain(FULL)) == set(NetworkInstanceConfig.__struct_fields__)


def test_unknown_fields_are_ignored_so_that_versions_can_be_mixed() -> None:
    data = msgpack.packb({"mtu": 1400, "of_next_year": [1, {"a": 2}]})
    assert codec.decode(NetworkInstanceConfig, data) == NetworkInstanceConfig(mtu=1400)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"subnet": "10.1.0.5/24"}, "subnet"),
        ({"mtu": "1500"}, "mtu"),
        ({"dhcp": {"lease_time": "1x"}}, "dhcp.lease_time"),
        ({"apps": {"web": {"ports": ["8080:80/sctp"]}}}, "ports[0]"),
        ({"address": 5}, "address"),
        ({"type": "vrf"}, "type"),
    ],
)
def test_an_error_names_the_field(data: dict[str, Any], named: str) -> None:
    with pytest.raises(codec.CodecError) as caught:
        codec.decode(NetworkInstanceConfig, msgpack.packb(data))
    assert named in str(caught.value)


def test_a_missing_field_is_an_error() -> None:
    with pytest.raises(codec.CodecError, match="address"):
        codec.decode(Lease, msgpack.packb({}))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_codec_error(data: bytes) -> None:
    with contextlib.suppress(codec.CodecError):
        codec.decode(NetworkInstanceConfig, data)


def test_deeply_nested_bytes_are_a_codec_error() -> None:
    with pytest.raises(codec.CodecError):
        codec.decode(NetworkInstanceConfig, b"\x81\xa3abc" + b"\x91" * 100_000)


messages = [value for value in vars(topics).values() if isinstance(value, type) and issubclass(value, topics.Message)]


@pytest.mark.parametrize("message", messages, ids=lambda message: message.__name__)
def test_every_topic_has_a_decoder(message: type[topics.Message]) -> None:
    required = any(field.required for field in msgspec.structs.fields(message))
    with pytest.raises(codec.CodecError, match="missing required field") if required else contextlib.nullcontext():
        codec.decode(message, msgpack.packb({}))


@given(st.integers(1, 65535), st.integers(1, 65535), st.sampled_from(["tcp", "udp"]))
def test_port_maps_are_read_as_they_are_written(outer: int, inner: int, protocol: str) -> None:
    port = PortMap.parse(f"{outer}:{inner}/{protocol}")
    assert codec.decode(AppConfig, codec.encode(AppConfig(ports=(port,)))).ports == (port,)


@given(st.integers(0, 10**9))
def test_durations_are_read_as_they_are_written(seconds: int) -> None:
    assert Duration.parse(str(Duration(seconds))) == seconds
    assert codec.from_plain(DhcpConfig, {"lease_time": seconds}).lease_time == seconds


def test_the_digest_is_of_the_message_and_not_of_its_order() -> None:
    one = NetworkInstanceConfig(apps={"a": AppConfig(), "b": AppConfig(mac=MacAddress("02:00:00:00:00:01"))})
    two = NetworkInstanceConfig(apps={"b": AppConfig(mac=MacAddress("02:00:00:00:00:01")), "a": AppConfig()})
    assert codec.digest(one) == codec.digest(two) != codec.digest(NetworkInstanceConfig())
