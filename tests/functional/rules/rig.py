"""An instance with two apps, both families, and something outside: what rules are tried with."""

from __future__ import annotations

import json
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import msgspec

from pubsub.codec import from_plain
from pubsub.topics import NamespaceApp, Rule
from pubsub.values import MacAddress
from supervisor.instances.local import named_rules
from tests.functional.nsmanager.rig import BRIDGE6, CONFIG, LINK6, NAME, Rig
from tests.hosts import Host

PROBE = Path(__file__).with_name("probe.py")
WEB, DB = "10.1.0.80", "10.1.0.81"
WEB6, DB6 = "fd00:1::ff:fe00:80", "fd00:1::ff:fe00:81"
GATEWAY, GATEWAY6 = "10.1.0.1", "fd00:1::1"
OUTSIDE, OTHER = "203.0.113.1", "198.51.100.1"  # addresses of the host, which is all that is outside
OUTSIDE6, OTHER6 = "2001:db8:1::1", "2001:db8:2::1"
MAP, MAP6 = "100.127.0.1", str(LINK6.address6.ip) if LINK6.address6 else ""  # what port maps stand on
WAIT = "0.3"  # seconds for an answer that must not come; its drop is counted beside
BASE = msgspec.structs.replace(CONFIG, link=LINK6, bridge6=BRIDGE6, hosts={})


def rules(*texts: str) -> tuple[Rule, ...]:
    """Read rules as a config file has them, in JSON."""
    found = tuple(from_plain(Rule, json.loads(text)) for text in texts)
    return named_rules(found) or ()


class RulesRig(Rig):
    """The apps are `web`, with rules, and `db`; the manager runs from `begin` on."""

    def begin(self, web: tuple[Rule, ...] | None, db: tuple[Rule, ...] | None = None, **changes: Any) -> None:
        """Start the instance with these rules; both apps are there, with their addresses, and serve pages and echo."""
        self.config = msgspec.structs.replace(BASE, apps=self.apps(web, db), **changes)
        self.host.sh(f"""
            ip addr add {LINK6.gateway6}/127 dev v-{NAME} nodad
            ip neigh add {MAP6} lladdr 02:00:00:00:00:ff dev v-{NAME} nud permanent
            for address in {OUTSIDE} {OTHER}; do ip addr add $address/32 dev lo; done
            for address in {OUTSIDE6} {OTHER6}; do ip -6 addr add $address/128 dev lo nodad; done
        """)
        self.publish()
        self.web = self.joined("web", "02:00:00:00:00:80", WEB, WEB6)
        self.db = self.joined("db", "02:00:00:00:00:81", DB, DB6)
        self.start()
        self.wait_ready()
        outside = (OUTSIDE, OTHER, OUTSIDE6, OTHER6)
        ends = ((self.host, "outside", outside), (self.web, "web", (WEB, WEB6)), (self.db, "db", (DB, DB6)))
        for host, text, addresses in ends:
            host.serve_page(text)
            host.serve_page(text, port=81)
            host.start([sys.executable, "-SE", PROBE, "echo", 7, *addresses])
            host.start([sys.executable, "-SE", PROBE, "lines", 9])

    def apps(self, web: tuple[Rule, ...] | None, db: tuple[Rule, ...] | None) -> tuple[NamespaceApp, ...]:
        """Return both apps with these rules."""
        one = NamespaceApp(
            name="web",
            mac=MacAddress.parse("02:00:00:00:00:80"),
            address=IPv4Address(WEB),
            address6=IPv6Address(WEB6),
            ports=CONFIG.apps[0].ports,
            ifname="p-web",
            rules=web,
        )
        other = msgspec.structs.replace(
            one,
            name="db",
            mac=MacAddress.parse("02:00:00:00:00:81"),
            address=IPv4Address(DB),
            address6=IPv6Address(DB6),
            ports=(),
            ifname="p-db",
            rules=db,
        )
        return one, other

    def joined(self, app: str, mac: str, address: str, address6: str) -> Host:
        """Return an app's host, configured by hand."""
        made = self.attach(app, mac)
        made.sh(f"""
            sysctl -qw net.ipv6.conf.eth0.accept_ra=0
            ip addr add {address}/24 dev eth0
            ip -6 addr add {address6}/64 dev eth0 nodad
            ip route add default via {GATEWAY}
            ip -6 route add default via {GATEWAY6}
        """)
        return made

    def change(self, web: tuple[Rule, ...] | None, db: tuple[Rule, ...] | None = None, **changes: Any) -> None:
        """Give the apps other rules; returns when they are in force."""
        self.publish(apps=self.apps(web, db), **changes)
        self.wait_ready()

    def counters(self, table: str = "inet nsvisor") -> dict[str, int]:
        """Return the packets of each counter of a table."""
        listed = json.loads(self.inside(f"nft -j list counters table {table}"))["nftables"]
        return {item["counter"]["name"]: item["counter"]["packets"] for item in listed if "counter" in item}

    def met(self, rule: str) -> int:
        """Return how many packets have met a rule, as `web/default`."""
        return self.counters()[f"met/{rule}"]

    def spoofed(self, app: str) -> int:
        return self.counters("bridge nsvisor")[f"spoofed/{app}"]


def ask(app: Host, address: str, port: int = 7, timeout: str = "60", source: str = "") -> bool:
    """Tell whether a UDP echo answers an app."""
    words = [sys.executable, "-SE", PROBE, "ask", address, port, timeout, *([source] if source else [])]
    return app.run(words).stdout == "hello\n"
