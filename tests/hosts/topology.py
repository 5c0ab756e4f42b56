"""The network around a throwaway host: a gateway on each uplink, and a web server outside."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from tests.hosts.host import Host, connect

OUTSIDE = "198.51.100.1"  # RFC 5737; the web server's, known as www.example.test
GATEWAY = "198.51.100.254"  # the gateway's address on the web server's side
NAME = "www.example.test"


class Topology:
    """`host` eth0 192.168.0.2/24 ─ .1 `gateway` 198.51.100.254/24 ─ .1 `outside`; a second uplink is 192.168.1.2/24.

    A context manager. The gateway forwards without NAT and answers DNS (a real dnsmasq) on each uplink; `outside`
    serves a page that tells who asked, on port 80, and a UDP echo on port 7, and knows only the uplinks' subnets.
    """

    def __init__(self, uplinks: int = 1) -> None:
        self._stack = contextlib.ExitStack()
        try:
            self.host = self._stack.enter_context(Host("host"))
            self.gateway = self._stack.enter_context(Host("gateway"))
            self.outside = self._stack.enter_context(Host("outside"))
            self._connect_outside()
            for number in range(uplinks):
                self._connect_uplink(number)
            self._serve_names(uplinks)
            self.outside.serve_page("outside")
            self.outside.serve_echo()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def add_host(self, name: str) -> Host:
        """Return one more host, which ends with the topology; join it by `connect`."""
        return self._stack.enter_context(Host(name))

    def _connect_outside(self) -> None:
        connect(self.gateway, "out0", self.outside, "eth0")
        self.gateway.sh(f"ip addr add {GATEWAY}/24 dev out0; sysctl -qw net.ipv4.ip_forward=1")
        self.outside.sh(f"ip addr add {OUTSIDE}/24 dev eth0")

    def _connect_uplink(self, number: int) -> None:
        """Join host's eth<number> and gateway's up<number>; the first one carries the host's default route."""
        ifname, subnet = f"eth{number}", f"192.168.{number}"
        connect(self.host, ifname, self.gateway, f"up{number}")
        self.gateway.sh(f"ip addr add {subnet}.1/24 dev up{number}")
        metric = f"metric {100 * number}" if number else ""
        self.host.sh(f"ip addr add {subnet}.2/24 dev {ifname}; ip route add default via {subnet}.1 {metric}")
        self.outside.sh(f"ip route add {subnet}.0/24 via {GATEWAY}")

    def _serve_names(self, uplinks: int) -> None:
        """Start a real dnsmasq on the gateway, the resolver of host and of gateway; it listens when this returns."""
        addresses = [f"192.168.{number}.1" for number in range(uplinks)]
        config = ["no-resolv", "no-hosts", "bind-interfaces", "pid-file=/run/dnsmasq.pid", "user=root"]
        config += ["log-queries", "log-facility=/run/dnsmasq.log"]  # a proof of who asked what
        config += [f"address=/{NAME}/{OUTSIDE}", *(f"listen-address={address}" for address in addresses)]
        self.gateway.put_file("/run/dnsmasq.conf", "\n".join(config) + "\n")
        self.gateway.run(["dnsmasq", "--conf-file=/run/dnsmasq.conf"])
        self.host.put_file("/etc/resolv.conf", f"nameserver {addresses[0]}\n")

    def dns_log(self) -> str:
        """Return what the gateway's resolver was asked and answered."""
        return self.gateway.read_file("/run/dnsmasq.log")
