"""What `get` and `describe` print of uplinks, and of the instances on them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

import pytest

from pubsub.codec import to_plain
from pubsub.topics import DeviceNetworkStatus, InstanceType, NetworkInstanceStatus, ProbeStatus, State
from supervisor.cli.describe import render_text
from supervisor.cli.kinds import INSTANCES, UPLINKS
from supervisor.cli.output import few, render_rows
from supervisor.cli.sparkline import draw
from tests.conftest import Golden

SINCE = 1_795_330_800.0  # seconds since the epoch
HEALTHY = DeviceNetworkStatus(
    ifname="eth0",
    up=True,
    addresses=(IPv4Interface("192.0.2.2/24"),),
    addresses6=(IPv6Interface("2001:db8::2/64"),),
    gateways=(IPv4Address("192.0.2.1"),),
    gateways6=(IPv6Address("fe80::1"),),
    resolvers=(IPv4Address("192.0.2.53"),),
    mtu=1500,
    labels=("fibre",),
    healthy=True,
    since=SINCE,
    latency=0.44,
    probes=(
        ProbeStatus(name="next hop 192.0.2.1", up=True, latency=0.44, since=SINCE, history=(0.4, 0.5, 3.1, -1.0, 0.44)),
        ProbeStatus(name="http://198.51.100.1/", up=False, since=SINCE, error="timed out", history=(-1.0, -1.0)),
        ProbeStatus(name="icmp 198.51.100.1", up=True),
    ),
    mark=0x102,
    table=196002,
    instances=("a", "b", "c", "d", "e"),
)
DOWN = DeviceNetworkStatus(ifname="wwan0", up=False, cost=10, reason="uplink wwan0 is down or has no carrier")


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Print times as in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_uplinks_are_listed_with_both_address_families(golden: Golden) -> None:
    rows = UPLINKS.all_rows({"eth0": HEALTHY, "wwan0": DOWN})
    texts = [render_rows(UPLINKS.columns, rows, output, "name") for output in ("table", "wide", "name")]
    golden("get-uplinks", "\n\n".join(texts))


@pytest.mark.parametrize("unicode", [True, False])
def test_an_uplink_is_described_with_the_history_of_its_probes(golden: Golden, *, unicode: bool) -> None:
    text = render_text(to_plain(HEALTHY), unicode=unicode)
    assert text.isascii() != unicode
    golden(f"describe-uplink-{'unicode' if unicode else 'ascii'}", text)


@pytest.mark.parametrize(
    ("history", "drawn"),
    [
        ((), "-"),
        ((-1.0, -1.0), "××  2 of 2 lost"),
        ((0.0,), "▁  0.0-0.0 ms"),
        ((5.0,), "█  5.0-5.0 ms"),
        ((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0), "▂▃▄▅▆▇██  1.0-8.0 ms"),
        ((0.1, -1.0, 100.0), "▁×█  0.1-100.0 ms, 1 of 3 lost"),
        ((*[-1.0] * 40, *[8.0] * 29, 1.0), "█" * 29 + "▂  1.0-8.0 ms"),
    ],
)
def test_a_sparkline_is_as_high_as_the_answer_was_slow(history: tuple[float, ...], drawn: str) -> None:
    assert draw(history, unicode=True) == drawn
    assert draw(history, unicode=False).isascii()
    assert len(draw(history, unicode=False)) == len(drawn)


@pytest.mark.parametrize(("name", "knows"), [("C", False), ("C.UTF-8", True)])
def test_bars_are_drawn_only_where_the_locale_has_them(name: str, *, knows: bool) -> None:
    program = "from supervisor.cli.sparkline import terminal_knows_unicode as knows; print(knows())"
    environment = {**os.environ, "LC_ALL": name}
    environment.pop("PYTHONIOENCODING", None)
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == str(knows)


def test_an_instance_shows_all_uplinks_that_it_uses_now() -> None:
    one, several, none = (
        NetworkInstanceStatus(name="red", type=InstanceType.LOCAL, state=State.READY, uplink=uplink, uplinks=uplinks)
        for uplink, uplinks in (("eth0", ("eth0",)), ("eth0", ("eth0", "eth1")), ("", ()))
    )
    column = next(column for column in INSTANCES.columns if column.title == "UPLINK")
    cells = [column.cell(row) for status in (one, several, none) for row in INSTANCES.rows("red", status)]
    assert cells == ["eth0", "eth0, eth1", "-"]


def test_a_cell_of_many_names_stays_short() -> None:
    assert few(["a", "b"]) == "a, b"
    assert few([f"i{number}" for number in range(1000)]) == "i0, i1, i2, i3 +996"
