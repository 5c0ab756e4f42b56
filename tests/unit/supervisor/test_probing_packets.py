"""What probes send, and what they take for an answer."""

from __future__ import annotations

import pytest

from supervisor.probing.echo import checksum, only, request
from supervisor.probing.endpoints import Unserved, check_status
from supervisor.probing.nexthop import ARP, ETHERNET, is_reply

OWN, OTHER, GATEWAY = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02", bytes((192, 168, 0, 1))


def frame(operation: int, sender: bytes, target_mac: bytes) -> bytes:
    arp = ARP.pack(1, 0x0800, 6, 4, operation, OTHER, sender, target_mac, bytes((192, 168, 0, 2)))
    return ETHERNET.pack(target_mac, OTHER, 0x0806) + arp


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (frame(2, GATEWAY, OWN), True),
        (frame(2, GATEWAY, OWN) + bytes(18), True),  # padded to the shortest frame of Ethernet
        (frame(1, GATEWAY, OWN), False),  # the gateway asks
        (frame(2, GATEWAY, OTHER), False),  # an answer to somebody else in the same LAN
        (frame(2, bytes((192, 168, 0, 9)), OWN), False),
        (frame(2, GATEWAY, OWN)[:40], False),
        (b"", False),
    ],
)
def test_only_the_gateways_reply_to_us_counts(received: bytes, expected: bool) -> None:
    assert is_reply(received, GATEWAY, OWN) == expected


@pytest.mark.parametrize("token", [bytes(16), b"\xff" * 16, bytes(range(16))])
def test_an_echo_request_sums_up_to_zero(token: bytes) -> None:
    assert checksum(request(token)) == 0
    assert request(token).endswith(token)


def test_a_filter_lets_one_type_pass() -> None:
    bits = int.from_bytes(only(136), "little")
    assert bits == (1 << 256) - 1 - (1 << 136)


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 204\r\n", b"HTTP/1.1 302 Found\r\n", b"HTTP/2 404 \n"]
)
def test_a_status_below_500_proves_the_way(line: bytes) -> None:
    check_status(line)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n", "HTTP status 503"),
        (b"HTTP/1.1 500\r\n", "HTTP status 500"),
        (b"", "closed without an HTTP answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP answer: b'SSH-2.0-OpenSSH_9.2"),
        (b"HTTP/1.1 2000 OK\r\n", "no HTTP answer"),
        (b"\n" * 1024, "no HTTP answer"),
    ],
)
def test_what_else_an_endpoint_says_is_no_answer(answer: bytes, words: str) -> None:
    with pytest.raises(Unserved) as raised:
        check_status(answer)
    assert words in str(raised.value)
    assert len(str(raised.value)) < 200
