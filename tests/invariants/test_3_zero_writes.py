"""Invariant 3: an unchanged configuration means zero writes to the kernel, counted from outside."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from tests.hosts import Host, wait_until
from tests.invariants.rig import TWO_TENANTS, Rig, kill
from tests.invariants.watch import TracedHost, generations, monitored, writes

FOLDER, CONFIG = '"/etc/nsvisor"', '"/etc/nsvisor/test.yaml"'  # as strace prints them
NAMES = tuple(TWO_TENANTS)
GONE = re.compile(r"\b(seen0|if[0-9]+)\b")  # the link by which a look is caused; when it is gone, its number


class TracedRig(Rig):
    """A rig whose daemon is traced from its first instruction on, with all that it bears."""

    def __init__(self) -> None:
        super().__init__(start=False)
        self.traced = TracedHost(self.host)
        self.daemon.host = cast("Host", self.traced)
        self.at_birth: list[str] = []


@pytest.fixture(scope="module")
def rig() -> Iterator[TracedRig]:
    with TracedRig() as made:
        with monitored(made.host) as heard:
            made.daemon.start()
            made.wait_ready(*NAMES)
            for name in NAMES:  # what the kernel does late: a bridge without ports has no carrier, a new link has one
                wait_until(lambda: "state DOWN" in made.host.sh(f"ip -n {name} link show br0"))  # noqa: B023
                for netns, link in ((name, "up0"), ("", f"v-{name}")):
                    multicast = f"ip -6 route show table local type multicast dev {link}"
                    wait_until(lambda: made.host.sh(multicast, netns=netns), what=f"{link}'s carrier")  # noqa: B023
        made.at_birth = heard["host ip"] + heard["host nft"]
        yield made
        made.daemon.kill()


def test_the_count_sees_what_is_written(rig: TracedRig) -> None:
    """The first start writes; without this the tests below could pass though nothing was counted at all."""
    found = "\n".join(writes(rig.traced.calls()))
    assert "/proc/sys/net/ipv4/conf/eth0/forwarding" in found  # of the host, by nsvisord
    assert "/proc/sys/net/ipv4/ip_forward" in found  # of an instance, by its manager
    for kind in (
        "0x10",
        "0x14",
        "0x18",
        "0x20",
        "0x21",
        "0xa<<8|0",
    ):  # NEWLINK …ADDR …ROUTE …RULE, DELRULE, an nft table
        assert f"nlmsg_type={kind}," in found, kind
    seen = "\n".join(rig.at_birth)
    for text in ("[LINK]", "[ADDR]", "[ROUTE]", "[RULE]", "[NETCONF]", "v-red", "add table inet nsvisor"):
        assert text in seen, text


def sighup(rig: TracedRig) -> None:
    mark = rig.traced.mark()
    os.kill(rig.daemon.pid, signal.SIGHUP)
    wait_until(lambda: "--- SIGHUP" in "\n".join(rig.traced.calls(mark, rig.daemon.pid)), what="the signal")
    # Files whose names, sizes and times are the same needn't be opened.
    wait_until(lambda: "\n".join(rig.traced.calls(mark)).count(FOLDER) > 1, what="the config being looked at")


def same_file_anew(rig: TracedRig) -> None:
    mark = rig.traced.mark()
    rig.configure()
    wait_until(lambda: any(CONFIG in call for call in rig.traced.calls(mark)), what="the config being read")


def restart(rig: TracedRig) -> None:
    assert rig.daemon.stop() == 0
    rig.daemon.start()
    rig.wait_ready(*NAMES)


def restart_after_a_kill(rig: TracedRig) -> None:
    rig.daemon.kill()
    rig.daemon.start()
    rig.wait_ready(*NAMES)


def restart_of_a_manager(rig: TracedRig) -> None:
    old = rig.manager("red")
    kill(old)
    wait_until(lambda: rig.publisher("nsmanager/red/NamespaceStatus") not in {0, old}, what="red's manager")
    rig.wait_ready(*NAMES)


def restart_of_the_hub(rig: TracedRig) -> None:
    old = rig.hub()
    kill(old)
    wait_until(lambda: rig.hub() != old, what="the hub")
    rig.wait_ready(*NAMES)


EVENTS: tuple[Callable[[TracedRig], None], ...] = (
    sighup, same_file_anew, restart, restart_after_a_kill, restart_of_a_manager, restart_of_the_hub
)  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_what_changes_no_config_writes_nothing(rig: TracedRig, event: Callable[[TracedRig], None]) -> None:
    before = generations(rig.host, *NAMES)
    mark = rig.traced.mark()
    with monitored(rig.host, *NAMES) as heard:
        event(rig)
        look_again(rig)
    foreign = [line for lines in heard.values() for line in lines if not GONE.search(line)]
    assert not writes(rig.traced.calls(mark))
    assert not foreign, foreign
    assert generations(rig.host, *NAMES) == before
    for what in ("host ip", "red ip", "blue ip"):
        assert any("seen0" in line for line in heard[what]), f"{what} was deaf"


def look_again(rig: TracedRig) -> None:
    """Have nsvisord and all managers look at the kernel; returns when they have done so, and with what follows."""
    pids = {"": rig.daemon.pid, **{name: rig.manager(name) for name in NAMES}}
    for netns, pid in (*pids.items(), *pids.items()):  # the second look comes after what the first one led to
        mark = rig.traced.mark()
        rig.host.sh("ip link add seen0 type bridge; ip link del seen0", netns=netns)
        wait_until(lambda: any("nlmsg_type=0x1a," in call for call in rig.traced.calls(mark, pid)), what="a look")  # noqa: B023
