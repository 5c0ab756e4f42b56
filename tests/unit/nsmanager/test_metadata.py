"""What the metadata server answers, and how it reads requests."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

import msgspec
import pytest

from nsmanager.metadata.caller import Caller
from nsmanager.metadata.http import BODY, HEADERS, converse
from nsmanager.metadata.pages import Answer, answer
from pubsub.topics import Dhcp6Mode, NamespaceApp, NamespaceConfig, NamespaceOutlook
from pubsub.values import AddressRange, MacAddress, PortMap
from tests.conftest import Golden

WEB = NamespaceApp(
    name="web",
    mac=MacAddress.parse("02:00:00:00:00:80"),
    address=IPv4Address("10.1.0.80"),
    ports=(PortMap.parse("8080:80/tcp"),),
    user_data="#cloud-config\n",
)
CONFIG = NamespaceConfig(
    bridge=IPv4Interface("10.1.0.1/24"),
    bridge6=IPv6Interface("2001:db8::1/64"),
    dhcp6=Dhcp6Mode.STATEFUL,
    mtu=1500,
    domain="red.internal",
    range=AddressRange.parse("10.1.0.64-10.1.0.191"),
    apps=(WEB,),
)
OUTLOOK = NamespaceOutlook(uplink="eth0", external=(IPv4Address("192.0.2.2"),))
WHO = Caller("red", CONFIG, WEB, OUTLOOK, (IPv4Address("10.1.0.80"),), (IPv6Address("2001:db8::80"),), "10.1.0.80:4000")
PATHS = (
    *("/", "/latest/", "/latest/meta-data/", "/latest/user-data", "/2021-03-23/dynamic/instance-identity/document"),
    *("/latest/meta-data/network/interfaces/macs/", "/latest/meta-data/network/interfaces/macs/02:00:00:00:00:80/"),
    *("/1.0/meta-data/public-ipv4", "/meta-data", "/user-data", "/vendor-data", "/network-config"),
    *("/nsvisor/v1/app.json", "/eve/v1/network.json", "/eve/v1/external_ipv4", "/eve/v1/hostname"),
    *("/nothing", "/latest/meta-data/nothing", "/latest/meta-data/mac/more", "/1999-99-99/meta-data"),
)


def test_all_that_is_told(golden: Golden) -> None:
    told = [(path, answer("GET", path, {}, WHO)) for path in PATHS]
    golden("metadata", "\n".join(f"GET {path}: {one.status} {one.kind}\n{one.body}" for path, one in told))


def test_what_is_unknown_is_left_out() -> None:
    app = msgspec.structs.replace(WEB, user_data="")
    config = msgspec.structs.replace(CONFIG, bridge6=None)
    who = Caller("red", config, app, NamespaceOutlook(), (), ())
    assert answer("GET", "/latest/user-data", {}, who).status == 404
    assert answer("GET", "/user-data", {}, who) == Answer(200, "")
    assert "public-ipv4" not in answer("GET", "/latest/meta-data/", {}, who).body
    found = json.loads(answer("GET", "/nsvisor/v1/app.json", {}, who).body)
    assert (found["uplink"], found["external"], found["router6"]) == (None, [], None)
    assert json.loads(answer("GET", "/network-config", {}, who).body)["ethernets"]["app"]["dhcp6"] is False


def test_who_is_no_app_is_told_nothing_of_any() -> None:
    found = answer("GET", "/nsvisor/v1/app.json", {}, None)
    assert found.status == 404
    assert "no app" in found.body


@pytest.mark.parametrize(
    ("method", "ttl", "status"),
    [
        ("PUT", "60", 200),
        ("PUT", "0", 400),
        ("PUT", "21601", 400),
        ("PUT", "x", 400),
        ("PUT", "", 400),
        ("GET", "60", 405),
    ],
)
def test_a_token_as_ec2_wants_it_asked_for(method: str, ttl: str, status: int) -> None:
    found = answer(method, "/latest/api/token", {"x-aws-ec2-metadata-token-ttl-seconds": ttl}, WHO)
    assert found.status == status
    assert (found.headers == (("x-aws-ec2-metadata-token-ttl-seconds", ttl),)) is (status == 200)


@pytest.mark.parametrize("host", ["evil.example.test", "evil.example.test:80", "127.0.0.1", "169.254.169.254:81"])
def test_a_page_that_was_got_by_a_name_is_told_nothing(host: str) -> None:
    """DNS rebinding: a browser sends the name by which it came."""
    found = answer("GET", "/user-data", {"host": host}, WHO)
    assert (found.status, WHO.app.user_data in found.body) == (403, False)


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.169.254:80", "[fd00:ec2::254]", "[FD00:EC2::254]:80", ""])
def test_who_asks_by_the_address_is_answered(host: str) -> None:
    assert answer("GET", "/user-data", {"host": host}, WHO).body == WHO.app.user_data


def test_nothing_can_be_written() -> None:
    assert answer("POST", "/user-data", {}, WHO).status == 405


def talk(sent: bytes) -> bytes:
    """Return what a connection answers to these bytes; the other end has closed then."""

    def respond(method: str, path: str, _headers: Mapping[str, str]) -> Answer:
        return Answer(200, f"{method} {path}\n")

    async def run() -> bytes:
        near, far = socket.socketpair()
        with near, far:
            for one in (near, far):
                one.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.TaskGroup() as tasks:
                server = tasks.create_task(converse(near, respond))
                tasks.create_task(send(far, sent))
                await server
                near.close()
                received = b""
                while data := await loop.sock_recv(far, 65536):
                    received += data
            return received

    return asyncio.run(run())


async def send(far: socket.socket, sent: bytes) -> None:
    try:
        await asyncio.get_running_loop().sock_sendall(far, sent)
        far.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it was closed in the middle


def test_requests_one_after_the_other() -> None:
    received = talk(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nHEAD /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    first, second = received.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200") and first.endswith(b"\r\n\r\nGET /a\n")
    assert second.startswith(b"200") and second.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 2 * HEADERS, b"431"),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + b"a" * 2 * BODY, b"413"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz", b"400"),
    ],
)
def test_what_breaks_the_protocol_is_refused(sent: bytes, status: bytes) -> None:
    assert talk(sent).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("sent", [b"", b"GET", b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\na"])
def test_who_closes_early_is_done_with(sent: bytes) -> None:
    assert talk(sent)[:12] in (b"", b"HTTP/1.1 400")
