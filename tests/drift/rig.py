"""A host with instances of each kind, and a hand in each of their namespaces."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

import pubsub
from nsmanager.item import Item
from nsmanager.items.nftables import NftTable
from nsmanager.items.service import Service
from nsmanager.manager import account
from nsmanager.place import Place
from nsmanager.plan import plan
from nsmanager.vpn.esp import kernel_has_esp
from pubsub.topics import NamespaceConfig
from supervisor.logs import LOG_LIMIT
from tests.drift.drifts import Drift, drifts, nft_drifts
from tests.drift.heard import Ear
from tests.hosts import DEADLINE, Daemon, Host, Topology, connect, wait_until
from tests.hosts.host import ROOT

REPAIR = 30.0  # seconds; half of a full pass, which would find it though no event told of it
INSIDE = Path(__file__).with_name("inside.py")
SECRET = "/etc/nsvisor/secrets/peer"
COMMAND = re.compile(r"^(?:\S+ \S+ )?INFO (?:host: )?((?:echo|env|ip|sysctl|nft|bridge|kill|wg|dnsmasq|radvd) .*)$")
INSTANCES: dict[str, Any] = {
    "red": {
        "subnet": "10.1.0.0/24",
        "uplinks": ["eth0", "eth1"],
        "balance": True,
        "routes": [{"to": "203.0.113.0/24", "uplink": "eth1"}, {"to": "10.77.0.0/16", "app": "web"}],
        "log": {"flows": True, "dns": True},
        "apps": {
            "web": {
                "address": "10.1.0.80",
                "attach": {"netns": "web"},
                "rules": [
                    {"host": "www.example.test", "protocol": "tcp", "ports": [80, 443]},
                    {"name": "lan", "remote": ["10.0.0.0/8", "2001:db8::/32"], "limit": "100/s"},
                    {"apps": ["db"], "action": "drop"},
                    {"portmap": "8080:80/tcp", "remote": ["198.51.100.0/24"]},
                ],
            },
            "db": {"address": "10.1.0.81", "attach": {"netns": "db"}, "ports": ["9107:9007/udp"]},
        },
    },
    "blue": {"subnet": "10.1.0.0/24", "ipv6": "off", "uplinks": ["eth1"], "apps": {"api": {"ports": ["8081:80"]}}},
    "cut": {"subnet": "10.2.0.0/24", "uplinks": [], "dhcp": {"v6": "stateful"}},
    "desk": {
        "type": "switch", "uplinks": ["eth2"], "switch": {"shared": True},
        "apps": {"cam": {"attach": {"netns": "cam", "configure": False}}},
    },
    "floor": {"type": "switch", "uplinks": ["eth3", "eth4"], "switch": {"stp": True, "lldp": True}},
    "plant": {
        "type": "vpn", "subnet": "10.3.0.0/24", "uplinks": ["eth1"],
        "vpn": {"connections": {"cloud": {
            "remote": "192.168.1.1", "remote_subnets": ["192.168.77.0/24"], "remote_id": "cloud.test",
            "secret_file": SECRET, "local_id": "edge.test",
        }}},
    },
}  # fmt: skip
SETTINGS = {"packet_steering": True}
APPS = ("web", "db", "cam")
NEVER_READY = {"plant"}  # its peer doesn't answer; all that is planned stands


class Hand:
    """Somebody in one namespace who does things by hand, and looks what then differs from the plan."""

    def __init__(self, host: Host, netns: str) -> None:
        argv = [sys.executable, INSIDE]
        self.netns = netns
        self.items: tuple[Item, ...] = ()
        self._process = host.start(argv, netns=netns, stdin=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)})

    def _ask(self, do: str, **words: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{self.netns or 'host'}: {do} {words}: the hand is gone"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def plan(self, items: tuple[Item, ...]) -> None:
        """Take over the plan of an instance."""
        self.items = items
        self._ask("plan", items=base64.b64encode(pickle.dumps(items)).decode())

    def plan_host(self, daemon: Daemon) -> None:
        """Plan the host as nsvisord does."""
        folders = {"config": daemon.config_dir, "run_dir": daemon.run_dir, "state_dir": daemon.state_dir}
        answer = self._ask("plan_host", **{name: str(path) for name, path in folders.items()})
        self.items = pickle.loads(base64.b64decode(answer["items"]))

    def sh(self, script: str) -> str:
        """Run a shell script, each line of which must succeed; return what it prints."""
        answer = self._ask("sh", script=script)
        assert not answer["failed"], f"{self.netns or 'host'}: {script}: {answer['failed']}"
        return str(answer["said"])

    def changes(self) -> dict[tuple[str, ...], str]:
        """Return what somebody who keeps the plan would do: by key, of each command the first line, as it is logged."""
        return {tuple(key): command.partition("\n")[0] for key, command in self._ask("diff")["changes"]}

    def converge(self) -> float:
        """Return the seconds until nothing differs from the plan. Raises AssertionError."""
        answer = self._ask("converge", within=REPAIR)
        assert not answer["left"], f"{self.netns or 'host'}: not repaired: {[one[:200] for one in answer['left']]}"
        return float(answer["seconds"])


class System:
    """A host with instances of each kind, all as planned. A context manager."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.links: set[str] = set()  # subjects of those that were taken away or down so far

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.__exit__(*sys.exc_info())  # which prints nsvisord's log
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.topology = self._stack.enter_context(Topology(2, ipv6=True))
        self.host = self.topology.host
        lan = self.topology.add_host("lan")
        for number in (2, 3, 4):
            connect(self.host, f"eth{number}", lan, f"l{number}")
        self.host.sh("ip addr add 192.168.2.2/24 dev eth2")
        for app in APPS:
            self.host.sh(f"ip netns add {app}")
        self.host.put_file(SECRET, "kaleidoscope-of-plums-7\n", mode=0o600)
        self.daemon = self._stack.enter_context(Daemon(self.host, {"settings": SETTINGS, "instances": INSTANCES}))
        self.daemon.wait_ready(*(name for name in INSTANCES if name not in NEVER_READY))
        self.pids = wait_until(self._managers, what="all managers")
        self.hands = {name: Hand(self.host, name) for name in ("", *INSTANCES)}
        for name in INSTANCES:
            wait_until(lambda: self._take_plan(name), what=f"{name} as planned")  # noqa: B023
        wait_until(self._take_host_plan, what="the host as planned")
        wait_until(self._has_its_tree, what="the spanning tree")
        self.ears = {
            name: self._stack.enter_context(contextlib.closing(Ear(self.host, name))) for name in ("", *INSTANCES)
        }

    def _has_its_tree(self) -> bool:
        """Tell whether no port of a bridge is on its way to forward: each step is told as a change of the link."""
        listed = [self.host.sh("bridge -d link", netns=name) for name in INSTANCES]
        return not any(f"state {state} " in text for text in listed for state in ("listening", "learning"))

    def _managers(self) -> dict[str, int]:
        found = {status["name"]: status["pid"] for status in self.daemon.get()}
        assert all(found.get(name) for name in INSTANCES), found
        return found

    def _take_plan(self, name: str) -> bool:
        """Plan an instance as its manager does; nothing differs then."""
        config = self.told(name)
        place = Place(name, self.daemon.run_dir, self.daemon.state_dir, *account())
        if config.tunnels:
            place = msgspec.structs.replace(place, kernel_esp=kernel_has_esp())
        self.hands[name].plan(plan(config, place))
        left = self.hands[name].changes()
        assert not left, left
        return True

    def _take_host_plan(self) -> bool:
        self.hands[""].plan_host(self.daemon)
        left = self.hands[""].changes()
        assert not left, left
        return True

    def told(self, name: str) -> NamespaceConfig:
        """Return what a manager was told last."""

        async def read() -> dict[str, NamespaceConfig]:
            run_dir = self.host.path(self.daemon.run_dir)
            async with asyncio.timeout(DEADLINE), pubsub.connect(run_dir, agent="reader") as bus:
                return await bus.table(NamespaceConfig, agent="supervisor", scope=name)

        return asyncio.run(read())[name]

    def log(self, name: str) -> str:
        """Return what nsvisord, or the manager of an instance, has said so far."""
        return self.host.read_file(self.daemon.run_dir / f"logs/{name}.log") if name else self.daemon.log()

    def all_drifts(self, name: str) -> list[Drift]:
        """Return everything that can be done by hand in a namespace, from its plan and from what nft lists of it."""
        hand = self.hands[name]
        found = [drift for item in hand.items if not isinstance(item, Service) for drift in drifts(item)]
        for item in hand.items:
            if isinstance(item, NftTable):
                listed = json.loads(hand.sh(f"nft -j list table {item.family} {item.name}"))["nftables"]
                found += nft_drifts(item, listed)
        return found

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop nsvisord and all managers for the time of the block."""
        pids = [self.daemon.pid, *self.pids.values()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            for pid in pids:
                wait_until(lambda: is_stopped(pid), what=f"the standstill of {pid}")  # noqa: B023
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def said(self, name: str) -> int:
        """Return how many characters a log has. A long one is emptied first: else nsvisord would cut its front off."""
        said = len(self.log(name))
        if not name or said < LOG_LIMIT // 2:
            return said
        os.truncate(self.host.path(self.daemon.run_dir / f"logs/{name}.log"), 0)
        return 0

    def commands(self, name: str, since: int) -> list[str]:
        """Return the commands that were logged after so many characters."""
        lines = self.log(name)[since:].splitlines()
        return [match[1] for line in lines if (match := COMMAND.match(line))]


def is_stopped(pid: int) -> bool:
    """Tell whether a process stands still."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
