"""dnsmasq: DHCP and DNS for the apps of an instance. See dnsmasq(8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Interface

from nsmanager.firewall.hosts import below, host_sets
from nsmanager.items.service import Service
from nsmanager.marks import NFT_TABLE
from nsmanager.names import BRIDGE
from nsmanager.place import Place
from nsmanager.residents import METADATA6
from pubsub.topics import Dhcp6Mode, NamespaceApp, NamespaceConfig
from pubsub.values import AddressRange

NAME = "dnsmasq"
# Of a /64, for those that have no address of their own in stateful mode: no EUI-64 address lies there (RFC 4291).
FIRST_LEASED6, LAST_LEASED6 = 0x1_0000, 0x1_FFFF
# What no name of elsewhere means: an app's own loopback, its link, and the metadata server (which is on the link, too).
# A page that an app shows could reach them by such a name (DNS rebinding).
REBINDING = (
    "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16",
    "::/127", "::ffff:0.0.0.0/104", "::ffff:127.0.0.0/104", "::ffff:169.254.0.0/112", "fe80::/10", f"{METADATA6}/128",
)  # fmt: skip


def service(config: NamespaceConfig, place: Place) -> Service | None:
    """Return dnsmasq for an instance. Hosts, app addresses, servers and DHCP's options change without a restart."""
    if config.bridge is None:
        return None
    conf = str(place.run / "dnsmasq.conf")
    pid_file = str(place.run / "dnsmasq.pid")
    reloadable = {
        str(place.run / "dnsmasq.hosts"): _hosts(config),
        str(place.run / "dnsmasq.apps"): _apps(config),
        str(place.run / "dnsmasq.servers"): _lines(_servers(config)),
        str(place.run / "dnsmasq.options"): _lines(_options(config)),
    }
    hosts_file, apps_file, servers_file, options_file = reloadable
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
            *(f"bogus-nxdomain={network}" for network in REBINDING),
            *_sets(config),
            "# DHCP",
            *([_range(config, config.range)] if config.range is not None else []),
            *([_range6(config, config.bridge6)] if config.bridge6 is not None else []),
            f"dhcp-hostsfile={apps_file}",
            f"dhcp-optsfile={options_file}",
            f"dhcp-leasefile={place.leases}",
            "dhcp-authoritative",
            "no-ping",
            "# one lease for each MAC address, whatever a client calls itself, and not more than the instance's share",
            "dhcp-ignore-clid",
            f"dhcp-lease-max={config.limits.leases}",
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


def _sets(config: NamespaceConfig) -> Iterator[str]:
    """Yield which sets the answers for a name fill: its own and those of the names above it, for one line counts."""
    sets = host_sets(config)
    for suffix in sets:
        words = [
            f"{v}#inet#{NFT_TABLE}#{name}"
            for above in sets
            if below(suffix, above)
            for v, name in zip("46", sets[above], strict=True)
        ]
        yield f"nftset=/{suffix}/{','.join(words)}"


def _range(config: NamespaceConfig, leased: AddressRange) -> str:
    return f"dhcp-range={leased.first},{leased.last},{config.router.netmask},{int(config.lease_time)}"


def _range6(config: NamespaceConfig, bridge: IPv6Interface) -> str:
    """Return which addresses are given by DHCPv6; the router and the prefix are told by radvd."""
    prefix = bridge.network
    leased = f"{prefix.network_address},static"  # who asks for an address gets none
    if config.dhcp6 is Dhcp6Mode.STATEFUL:
        leased = f"{prefix.network_address + FIRST_LEASED6},{prefix.network_address + LAST_LEASED6}"
    return f"dhcp-range={leased},{prefix.prefixlen},{int(config.lease_time)}"


def _servers(config: NamespaceConfig) -> Iterable[str]:
    """Yield whom to ask; through a tunnel as the bridge's address, which is the peer's to answer."""
    source = f"@{config.router.ip}" if config.sealed else ""
    return (f"server={server}{source}" for server in config.servers)


def _options(config: NamespaceConfig) -> list[str]:
    """Return what DHCP tells; options by number, as in RFC 2132, 3442 and 3646."""
    gateway = config.router.ip
    lines = [f"3,{gateway}", f"6,{gateway}", f"15,{config.domain}", f"26,{config.apps_mtu}"]
    if config.ntp:
        lines.append("42," + ",".join(str(server) for server in config.ntp))
    if config.routes:  # a client that gets 121 ignores 3, so the default route stands here too
        routes = [f"0.0.0.0/0,{gateway}", *(f"{route.to},{route.via}" for route in config.routes)]
        lines.append("121," + ",".join(routes))
    if config.bridge6 is not None:
        lines += [f"option6:23,[{config.bridge6.ip}]", f"option6:24,{config.domain}"]
    return lines


def _hosts(config: NamespaceConfig) -> str:
    """Return the names of the config's hosts and of the apps with an address, as hosts(5)."""
    found: list[tuple[str, IPv4Address | IPv6Address]] = list(config.hosts.items())
    for app in config.apps:
        if app.name not in config.hosts:
            found += [(app.name, address) for address in _addresses(config, app)]
    return _lines(f"{address} {name}" for name, address in sorted(found, key=lambda pair: (pair[0], pair[1].version)))


def _addresses(config: NamespaceConfig, app: NamespaceApp) -> list[IPv4Address | IPv6Address]:
    """Return what an app can be reached by."""
    addresses = (app.address, app.address6 if config.bridge6 is not None else None)
    return [address for address in addresses if address is not None]


def _apps(config: NamespaceConfig) -> str:
    """Return who gets which addresses by DHCP."""
    lines = []
    for app in sorted(config.apps, key=lambda app: app.name):
        words = [str(app.mac), *([str(app.address)] if app.address is not None else [])]
        if config.bridge6 is not None and config.dhcp6 is Dhcp6Mode.STATEFUL and app.address6 is not None:
            words.append(f"[{app.address6}]")
        lines.append(",".join((*words, app.name)))
    return _lines(lines)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
