"""dnsmasq: DHCP and DNS for the apps of an instance. See dnsmasq(8)."""

from __future__ import annotations

from collections.abc import Iterable

from nsmanager.items.service import Service
from nsmanager.names import BRIDGE
from nsmanager.place import Place
from pubsub.topics import NamespaceConfig

NAME = "dnsmasq"


def service(config: NamespaceConfig, place: Place) -> Service:
    """Return dnsmasq for an instance. Hosts, app addresses and servers change without a restart."""
    conf = str(place.run / "dnsmasq.conf")
    pid_file = str(place.run / "dnsmasq.pid")
    reloadable = {
        str(place.run / "dnsmasq.hosts"): _hosts(config),
        str(place.run / "dnsmasq.apps"): _apps(config),
        str(place.run / "dnsmasq.servers"): _lines(f"server={server}" for server in config.servers),
    }
    hosts_file, apps_file, servers_file = reloadable
    text = _lines(
        (
            f"# instance {place.name}; written by its manager",
            f"user={place.user}",
            f"group={place.group}",
            f"pid-file={pid_file}",
            "log-facility=-",
            "# on the bridge only, also when its address comes back",
            f"interface={BRIDGE}",
            "except-interface=lo",
            "bind-dynamic",
            "# DNS: nothing of the host's; with no server, only what is known here",
            "no-resolv",
            "no-hosts",
            f"servers-file={servers_file}",
            f"addn-hosts={hosts_file}",
            "expand-hosts",
            f"domain={config.domain}",
            f"local=/{config.domain}/",
            "# DHCP",
            *_dhcp(config, place, apps_file),
        )
    )
    return Service(
        NAME,
        (NAME, f"--conf-file={conf}"),
        pid_file,
        files=((conf, text),),
        reloadable=tuple(reloadable.items()),
        ifname=BRIDGE,
    )


def _dhcp(config: NamespaceConfig, place: Place, apps_file: str) -> list[str]:
    """Return the lines about DHCP; options by number, as in RFC 2132 and 3442."""
    gateway = config.bridge.ip
    lines = [
        f"dhcp-range={config.range.first},{config.range.last},{config.bridge.netmask},{int(config.lease_time)}",
        f"dhcp-hostsfile={apps_file}",
        f"dhcp-leasefile={place.leases}",
        "dhcp-authoritative",
        "no-ping",
        f"dhcp-option=3,{gateway}",
        f"dhcp-option=6,{gateway}",
        f"dhcp-option=15,{config.domain}",
        f"dhcp-option=26,{config.mtu}",
    ]
    if config.ntp:
        lines.append("dhcp-option=42," + ",".join(str(server) for server in config.ntp))
    if config.routes:  # a client that gets 121 ignores 3, so the default route stands here too
        routes = [f"0.0.0.0/0,{gateway}", *(f"{route.to},{route.via}" for route in config.routes)]
        lines.append("dhcp-option=121," + ",".join(routes))
    return lines


def _hosts(config: NamespaceConfig) -> str:
    """Return the names of the config's hosts and of the apps with an address, as hosts(5)."""
    apps = {app.name: app.address for app in config.apps if app.address is not None}
    return _lines(f"{address} {name}" for name, address in sorted((apps | config.hosts).items()))


def _apps(config: NamespaceConfig) -> str:
    """Return who gets which address by DHCP."""
    return _lines(
        f"{app.mac},{app.address},{app.name}" if app.address is not None else f"{app.mac},{app.name}"
        for app in sorted(config.apps, key=lambda app: app.name)
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
