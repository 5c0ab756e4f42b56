"""The network around a throwaway host: gateways at its uplinks, and a web server outside."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TypeVar

from tests.hosts.cable import Cable
from tests.hosts.host import Host, connect
from tests.hosts.waiting import wait_until

T = TypeVar("T")

OUTSIDE = "198.51.100.1"  # RFC 5737; the web server's, known as www.example.test
OUTSIDE6 = "2001:db8:ffff::1"  # RFC 3849
GATEWAY = "198.51.100.254"  # the gateway's address on the web server's side
GATEWAY6 = "2001:db8:ffff::fe"
NAME = "www.example.test"
WHO = "who.example.test"  # each uplink's resolver has another address for it: 192.0.2.1 is that of the first
NAME_TTL = 60  # seconds, of the names that a test adds
MODEM_PORTS = "8080-8089"  # TCP ports that a modem leads to its host
ADVERTISEMENTS = """\
interface {port} {{
  AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 1800;
  prefix {network} {{ AdvOnLink on; AdvAutonomous on; }};
}};
"""


class Topology:
    """`host` eth0 192.168.0.2/24 ─ .1 `gateway` 198.51.100.254/24 ─ .1 `outside`; a second uplink is 192.168.1.2/24.

    A context manager. The gateway forwards without NAT and answers DNS (a real dnsmasq each) on each uplink; `outside`
    serves a page that tells who asked, on port 80, and a UDP echo on port 7, and knows only the uplinks' subnets.

    `ipv6`: the uplinks are 2001:db8:N::2/64 too, the gateway's ends ::1. The first one's router is told by RA.
    `lan`: all uplinks are in 192.168.0.0/24, one LAN with one gateway: .2, .3, …
    `modems`: each uplink is 192.168.100.2/24 behind a gateway of its own, 192.168.100.1, which hides it behind the
    address that `outside` sees: 203.0.113.1, .5, …; its ports MODEM_PORTS lead to the host.
    `names`: more names of `outside`, each with the last number of an address of its own, for `name_ttl` seconds.
    """

    def __init__(
        self, uplinks: int = 1, *, ipv6: bool = False, lan: bool = False, modems: bool = False,
        names: Mapping[str, int] | None = None, name_ttl: int = NAME_TTL,
    ) -> None:  # fmt: skip
        self._stack = contextlib.ExitStack()
        self.ipv6, self.lan, self.names, self.name_ttl = ipv6, lan, names or {}, name_ttl
        try:
            self.host = self._stack.enter_context(Host("host"))
            self.outside = self._stack.enter_context(Host("outside"))
            self.gateways = [self._stack.enter_context(Host("gateway"))]  # one, or with `modems` one for each uplink
            self.gateway = self.gateways[0]
            self.uplinks: list[Cable] = []
            if modems:
                self._connect_modems(uplinks)
            else:
                self._connect_outside()
                self._connect_uplinks(uplinks)
            if ipv6:
                self._advertise(self.uplinks[0])
            self._serve_names()
            self.outside.serve_page("outside")
            self.outside.serve_echo()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def close(self) -> None:
        """End all hosts."""
        self._stack.close()

    def add(self, part: contextlib.AbstractContextManager[T]) -> T:
        """Enter a part of the network, which ends with the topology; return it."""
        return self._stack.enter_context(part)

    def add_host(self, name: str) -> Host:
        """Return one more host, which ends with the topology; join it by `connect`."""
        return self._stack.enter_context(Host(name))

    def _connect_outside(self) -> None:
        connect(self.gateway, "out0", self.outside, "eth0")
        self.gateway.sh(f"ip addr add {GATEWAY}/24 dev out0; sysctl -qw net.ipv4.ip_forward=1")
        self.outside.sh(f"ip addr add {OUTSIDE}/24 dev eth0")
        if self.ipv6:
            self.gateway.sh(f"sysctl -qw net.ipv6.conf.all.forwarding=1; ip addr add {GATEWAY6}/64 dev out0")
            self.outside.sh(f"ip addr add {OUTSIDE6}/64 dev eth0")

        for number in self.names.values():
            self.outside.sh(f"ip addr add {near(OUTSIDE, number)}/24 dev eth0")
            if self.ipv6:
                self.outside.sh(f"ip addr add {near(OUTSIDE6, number)}/64 dev eth0")

    def add_served_uplink(self) -> Cable:
        """Join one more uplink, where the host has no IPv4 address, and the gateway a DHCP server, DNS and RA."""
        number = len(self.uplinks)
        network, network6 = f"192.168.{number}", f"2001:db8:{number}:"
        cable = Cable(self.host, f"eth{number}", self.gateway, f"up{number}", "", f"{network}.1")
        connect(self.host, cable.ifname, self.gateway, cable.port)
        self.gateway.sh(f"ip addr add {cable.router}/24 dev {cable.port}")
        self.outside.sh(f"ip route add {network}.0/24 via {GATEWAY}")
        more = [f"interface={cable.port}", f"dhcp-range={network}.100,{network}.150,12h", "dhcp-authoritative"]
        more += [f"dhcp-leasefile=/run/leases{number}"]
        if self.ipv6:
            self.gateway.sh(f"ip addr add {network6}:1/64 dev {cable.port}")
            self.outside.sh(f"ip route add {network6}:/64 via {GATEWAY6}")
            more += ["enable-ra", f"dhcp-range=::,constructor:{cable.port},ra-only"]
        self._serve_names_on(number, cable, *more)
        if self.ipv6:
            self.host.sh(
                f"ip link set {cable.ifname} down; ip link set {cable.ifname} up"
            )  # it asks for a router again
            wait_until(
                lambda: "default" in self.host.sh(f"ip -6 route show dev {cable.ifname} proto ra"), what="the RA"
            )
        return cable

    def _connect_uplinks(self, count: int) -> None:
        """Join host's eth<number> and gateway's up<number>; the first one carries the host's default route."""
        if self.lan:
            self.gateway.sh("ip link add lan0 type bridge; ip link set lan0 up; ip addr add 192.168.0.1/24 dev lan0")
        for number in range(count):
            network, network6 = f"192.168.{0 if self.lan else number}", f"2001:db8:{number}:"
            address = f"{network}.{2 + number if self.lan else 2}"
            cable = Cable(
                self.host, f"eth{number}", self.gateway, f"up{number}",
                address, f"{network}.1", f"{network6}:2" if self.ipv6 else "", f"{network6}:1" if self.ipv6 else "",
            )  # fmt: skip
            self.uplinks.append(cable)
            connect(self.host, cable.ifname, self.gateway, cable.port)
            if self.lan:
                self.gateway.sh(f"ip link set {cable.port} master lan0")
            else:
                self.gateway.sh(f"ip addr add {cable.router}/24 dev {cable.port}")
            cable.configure_host(number)
            if number == 0 or not self.lan:
                self.outside.sh(f"ip route add {network}.0/24 via {GATEWAY}")
            if self.ipv6:
                self.gateway.sh(
                    f"sysctl -qw net.ipv6.conf.{cable.port}.keep_addr_on_down=1; "
                    f"ip addr add {cable.router6}/64 dev {cable.port}"
                )
                self.outside.sh(f"ip route add {network6}:/64 via {GATEWAY6}")

    def _connect_modems(self, count: int) -> None:
        self.outside.sh(f"ip addr add {OUTSIDE}/32 dev lo; sysctl -qw net.ipv4.ip_forward=1")
        for number in range(count):
            modem = self.gateway if not number else self.add_host(f"modem{number}")
            self.gateways = [*self.gateways, modem] if number else self.gateways
            near, far = f"203.0.113.{4 * number + 1}", f"203.0.113.{4 * number + 2}"
            connect(modem, "out0", self.outside, f"eth{number}")
            cable = Cable(self.host, f"eth{number}", modem, f"up{number}", "192.168.100.2", "192.168.100.1")
            self.uplinks.append(cable)
            connect(self.host, cable.ifname, modem, cable.port)
            modem.sh(
                f"ip addr add {near}/30 dev out0; ip route add default via {far}; sysctl -qw net.ipv4.ip_forward=1; "
                f"ip addr add {cable.router}/24 dev {cable.port}; nft add table ip modem; "
                "nft 'add chain ip modem out { type nat hook postrouting priority 100; oifname out0 masquerade; }'; "
                "nft 'add chain ip modem in { type nat hook prerouting priority -100; "
                f"iifname out0 tcp dport {MODEM_PORTS} dnat to {cable.address}; }}'"
            )
            self.outside.sh(f"ip addr add {far}/30 dev eth{number}")
            cable.configure_host(number)

    def _advertise(self, cable: Cable) -> None:
        """Start radvd on a gateway, and see that the host has its default route from it."""
        network = cable.router6.removesuffix("1") + "/64"
        self.gateway.put_file("/run/radvd.conf", ADVERTISEMENTS.format(port=cable.port, network=network), mode=0o600)
        self.gateway.run(["radvd", "-C", "/run/radvd.conf", "-p", "/run/radvd.pid", "-m", "stderr_syslog"])
        wait_until(lambda: "default" in self.host.sh(f"ip -6 route show dev {cable.ifname} proto ra"), what="the RA")

    def _serve_names(self) -> None:
        """Start a real dnsmasq for each uplink, the resolver of host and of gateway; they listen when this returns."""
        for number, cable in enumerate(self.uplinks):
            if number and self.lan:
                break
            self._serve_names_on(number, cable)
        self.host.put_file("/etc/resolv.conf", f"nameserver {self.uplinks[0].router}\n")

    def _serve_names_on(self, number: int, cable: Cable, *more: str) -> None:
        base = f"/run/dnsmasq{number}"
        config = ["no-resolv", "no-hosts", "bind-interfaces", f"pid-file={base}.pid", "user=root"]
        config += ["log-queries", f"log-facility={base}.log"]  # a proof of who asked what
        six = f",{OUTSIDE6}" if self.ipv6 else ""
        config += ["local=/example.test/", f"host-record={NAME},{OUTSIDE}{six}"]
        config += [f"host-record={WHO},192.0.2.{number + 1}"]
        for name, last in self.names.items():
            six = f",{near(OUTSIDE6, last)}" if self.ipv6 else ""
            config += [f"host-record={name},{near(OUTSIDE, last)}{six},{self.name_ttl}"]
        config += [f"listen-address={cable.router}", "except-interface=lo", "local-ttl=0", *more]
        cable.gateway.put_file(f"{base}.conf", "\n".join(config) + "\n")
        cable.gateway.run(["dnsmasq", f"--conf-file={base}.conf"])

    def dns_log(self, number: int = 0) -> str:
        """Return what the resolver of an uplink was asked and answered."""
        return self.uplinks[number].gateway.read_file(f"/run/dnsmasq{number}.log")


def near(address: str, last: int) -> str:
    """Return the address beside OUTSIDE or OUTSIDE6 that ends with a number, in decimal digits."""
    return address.removesuffix("1") + str(last)
