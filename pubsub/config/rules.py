"""What a config must fulfil beyond its types: within one instance, and between instances."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from pubsub import codec
from pubsub.config.rules_apps import check_rules, mapped_ports
from pubsub.config.rules_attach import check_attached_together, check_attachments
from pubsub.config.rules_limits import check_limits
from pubsub.config.rules_routes import check_routes
from pubsub.config.rules_settings import INSTANCE_PREFIXLEN6
from pubsub.config.rules_switch import check_switch
from pubsub.config.rules_vpn import check_vpn
from pubsub.config.rules_words import (
    ALL_UPLINKS,
    Finding,
    Findings,
    Path,
    check_network,
    check_network6,
    check_uplink,
    uplinks_meant,
)
from pubsub.topics import (
    DhcpConfig,
    DnsConfig,
    Ipv6Mode,
    NetworkInstanceConfig,
    SupervisorSettings,
    UplinkConfig,
)
from pubsub.values import PortMap

INSTANCE_NAME_LENGTH = 13  # the host's end of its link is `v-<name>`, and IFNAMSIZ leaves 15 characters
APP_NAME_LENGTH = 11  # its port is `p-<name>`; leaves room for a suffix within the same 15
APP_NAME_REMEDY = f"use a-z, 0-9 and -, at most {APP_NAME_LENGTH} characters, and no - at either end"
MTU_RANGE = (576, 65535)  # RFC 791: what every host must take; the largest of a veth
MTU_IPV6 = 1280  # RFC 8200: the smallest that IPv6 goes over
SMALLEST_SUBNET = 30  # prefixlen: network, bridge, one app, broadcast
LEASE_RANGE = (120, 4294967294)  # seconds; dnsmasq(8): at least two minutes; option 51 has 32 bits
CONFIG_LIMIT = 1 << 20  # bytes of one instance's config as msgpack; the bus takes more, dnsmasq's files don't want it
DOMAIN_LENGTH = 253  # RFC 1035

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def validate(
    name: str, config: NetworkInstanceConfig, settings: SupervisorSettings | None = None
) -> tuple[Finding, ...]:
    """Return all that is wrong with one instance, whatever the others are."""
    settings = settings or SupervisorSettings()
    found: list[tuple[Path, str, str]] = [
        *_instance_name(name),
        *_subnet(config, settings),
        *_subnet6(config, settings),
        *_mtu(config),
        *_uplinks(config),
        *check_routes(config, settings),
        *check_vpn(config, settings),
        *check_switch(config),
        *_dhcp(config.dhcp, config),
        *_dns(config.dns),
        *_apps(config),
        *check_attachments(config),
        *check_rules(config),
        *check_limits(config.limits),
        *_size(config),
    ]
    return tuple(Finding(name, *finding) for finding in found)


def validate_all(
    configs: Mapping[str, NetworkInstanceConfig], uplinks: Mapping[str, UplinkConfig] | None = None
) -> tuple[Finding, ...]:
    """Return what instances can't both have, each at the later one in the mapping's order.

    With all `uplinks` that have labels it also tells port maps by an uplink that their instance doesn't use.
    """
    found = [*_claims(configs), *_routed(configs), *check_attached_together(configs, uplinks or {})]
    for name, config in configs.items():
        if uplinks is not None:
            found += [Finding(name, *said) for said in _unused_uplinks(config, uplinks)]
    return tuple(found)


def _claims(configs: Mapping[str, NetworkInstanceConfig]) -> Iterator[Finding]:
    """Yield outer ports that two instances claim on what is surely the same uplink; labels meet only at runtime."""
    holders: dict[object, str] = {}
    for name, config in configs.items():
        for app, app_config in config.apps.items():
            for where, port in mapped_ports(app_config):
                uplink = _claimed_uplink(config, port)
                holder = holders.setdefault((uplink, port.protocol, port.outer), name)
                if holder != name:
                    which = f"uplink {uplink}" if isinstance(uplink, str) else "the same uplink"
                    message = f"port {port.outer}/{port.protocol} of {which} is instance {holder}'s"
                    yield Finding(name, ("apps", app, *where), message, "choose another outer port or another uplink")


def _claimed_uplink(config: NetworkInstanceConfig, port: PortMap) -> str | frozenset[str] | None:
    """Return the word for the uplink that a port map is claimed on; the words, where any of them may be selected."""
    if port.uplink or config.uplinks is None:
        return port.uplink or None
    return config.uplinks[0] if len(config.uplinks) == 1 else frozenset(config.uplinks)


def _routed(configs: Mapping[str, NetworkInstanceConfig]) -> Iterator[Finding]:
    """Yield prefixes that are routed to two instances."""
    routed = [
        (name, config.subnet6)
        for name, config in configs.items()
        if config.ipv6 is Ipv6Mode.ROUTED and config.subnet6 is not None
    ]
    holders: dict[object, str] = {}  # all are /64, so that those which overlap are equal
    for name, prefix in routed:
        holder = holders.setdefault(prefix, name)
        if holder != name:
            message = f"subnet6 {prefix} is routed to instance {holder}"
            yield Finding(name, ("subnet6",), message, "choose another prefix, or `ipv6: nat`")


def _unused_uplinks(config: NetworkInstanceConfig, uplinks: Mapping[str, UplinkConfig]) -> Findings:
    if not config.uplinks:
        return
    used = {ifname for word in config.uplinks for ifname in uplinks_meant(word, uplinks)}
    for app, app_config in config.apps.items():
        for where, port in mapped_ports(app_config):
            if port.uplink and not used & uplinks_meant(port.uplink, uplinks):
                message = f"the instance doesn't use uplink {port.uplink!r}; its uplinks: {', '.join(config.uplinks)}"
                remedy = f"name one of these, or add {port.uplink} to `uplinks`"
                yield ("apps", app, *where), message, remedy


def _instance_name(name: str) -> Findings:
    if not LABEL.fullmatch(name):
        yield (), f"{name!r} can't be an instance's name", "use a-z, 0-9 and -, and no - at either end"
    elif len(name) > INSTANCE_NAME_LENGTH:
        remedy = f"use at most {INSTANCE_NAME_LENGTH}: the name becomes part of an interface's"
        yield (), f"the name {name!r} has {len(name)} characters", remedy


def _subnet(config: NetworkInstanceConfig, settings: SupervisorSettings) -> Findings:
    subnet = config.subnet
    if subnet is None:
        if config.address is not None:
            yield ("address",), f"address {config.address} needs a subnet that holds it", "add `subnet: …`"
        return
    if subnet.prefixlen > SMALLEST_SUBNET:
        message = f"subnet {subnet} is too small: it has no room for a bridge and an app"
        yield ("subnet",), message, f"use a /{SMALLEST_SUBNET} or larger, as a /24"
        return
    yield from check_network(("subnet",), subnet)
    if subnet.overlaps(settings.link_pool):
        message = f"subnet {subnet} overlaps the link pool {settings.link_pool}"
        yield ("subnet",), message, "choose another subnet, or another settings.link_pool"
    if config.address is not None:
        yield from _within(("address",), config.address, subnet)


def _subnet6(config: NetworkInstanceConfig, settings: SupervisorSettings) -> Findings:
    path, subnet = ("subnet6",), config.subnet6
    if subnet is None:
        if config.ipv6 is Ipv6Mode.ROUTED:
            message = "`ipv6: routed` needs the prefix that is routed to here"
            yield ("ipv6",), message, "add `subnet6: PREFIX/64`, or use `ipv6: nat`"
        return
    if subnet.prefixlen != INSTANCE_PREFIXLEN6:
        yield path, f"subnet6 {subnet} is no /64, which apps need to make their addresses", "use a /64"
    yield from check_network6(path, subnet)
    if subnet.overlaps(settings.link_pool6):
        message = f"subnet6 {subnet} overlaps the link pool {settings.link_pool6}"
        yield path, message, "choose another prefix, or another settings.link_pool6"


def _within(path: Path, address: IPv4Address, subnet: IPv4Network) -> Findings:
    first, last = subnet.network_address + 1, subnet.broadcast_address - 1
    if address not in subnet:
        yield path, f"{address} is outside the subnet {subnet}", f"use an address from {first} to {last}"
    elif not first <= address <= last:
        which = "network" if address < first else "broadcast"
        yield path, f"{address} is the {which} address of {subnet}", f"use an address from {first} to {last}"


def _mtu(config: NetworkInstanceConfig) -> Findings:
    low, high = MTU_RANGE
    if not low <= config.mtu <= high:
        remedy = f"use {low} to {high}; 1500 is usual, and IPv6 needs {MTU_IPV6}"
        yield ("mtu",), f"an MTU of {config.mtu} bytes is not possible", remedy
    elif config.mtu < MTU_IPV6 and config.ipv6 is not Ipv6Mode.OFF:
        message = f"IPv6 doesn't work with an MTU of {config.mtu} bytes"
        yield ("mtu",), message, f"use {MTU_IPV6} or more, or add `ipv6: off`"


def _size(config: NetworkInstanceConfig) -> Findings:
    size = len(codec.encode(config))
    if size > CONFIG_LIMIT:
        yield (), f"the instance's config has {size} bytes", f"keep it under {CONFIG_LIMIT}: fewer hosts or apps"


def _uplinks(config: NetworkInstanceConfig) -> Findings:
    seen: set[str] = set()
    for index, word in enumerate(config.uplinks or ()):
        path = ("uplinks", str(index))
        if word == ALL_UPLINKS:
            yield path, "'all' in a list would be the name of one uplink", "write `uplinks: all`, without brackets"
        else:
            yield from check_uplink(path, word)
        if word in seen:
            yield path, f"uplink {word!r} stands twice", "remove one"
        seen.add(word)
    if config.balance and config.uplinks == ():
        yield ("balance",), "there is nothing to balance over: `uplinks: []` has none", "name uplinks, or remove it"


def _dhcp(dhcp: DhcpConfig, config: NetworkInstanceConfig) -> Findings:
    path = ("dhcp", "range")
    if dhcp.range is not None and config.subnet is None:
        yield path, f"range {dhcp.range} needs a subnet that holds it", "add `subnet: …`"
    elif dhcp.range is not None and config.subnet is not None and config.subnet.prefixlen <= SMALLEST_SUBNET:
        wrong = [*_within(path, dhcp.range.first, config.subnet), *_within(path, dhcp.range.last, config.subnet)]
        yield from wrong[:1]
    low, high = LEASE_RANGE
    if not low <= dhcp.lease_time <= high:
        yield ("dhcp", "lease_time"), f"a lease time of {dhcp.lease_time} is not possible", "use 2m or more, as 12h"


def _dns(dns: DnsConfig) -> Findings:
    if dns.domain and not is_host_name(dns.domain):
        yield ("dns", "domain"), f"{dns.domain!r} can't be a domain name", "use labels with dots, as red.internal"
    for host in dns.hosts:
        if not is_host_name(host):
            yield ("dns", "hosts", host), f"{host!r} can't be a host name", "use letters, digits, - and dots"


def is_host_name(name: str) -> bool:
    """Tell whether a name can stand in DNS, and in dnsmasq's files."""
    return len(name) <= DOMAIN_LENGTH and all(HOST_LABEL.fullmatch(label) for label in name.split("."))


def is_app_name(name: str) -> bool:
    """Tell whether a name can be an app's: in DNS, in dnsmasq's files, and in an ifname."""
    return len(name) <= APP_NAME_LENGTH and LABEL.fullmatch(name) is not None


def _apps(config: NetworkInstanceConfig) -> Findings:
    gateway = config.address
    if gateway is None and config.subnet is not None:
        gateway = config.subnet.network_address + 1
    addresses: dict[IPv4Address, str] = {} if gateway is None else {gateway: "the bridge's"}
    macs: dict[str, str] = {}
    for name, app in config.apps.items():
        path = ("apps", name)
        if not is_app_name(name):
            yield path, f"{name!r} can't be an app's name", APP_NAME_REMEDY
        if app.address is not None:
            yield from _app_address((*path, "address"), app.address, config.subnet)
            holder = addresses.setdefault(app.address, f"app {name}'s")
            if holder != f"app {name}'s":
                yield (*path, "address"), f"{app.address} is {holder} address", "choose another address"
        if app.mac is not None and macs.setdefault(app.mac, name) != name:
            yield (*path, "mac"), f"{app.mac} is app {macs[app.mac]}'s MAC address", "choose another one"
    yield from _ports(config)


def _app_address(path: Path, address: IPv4Address, subnet: IPv4Network | None) -> Findings:
    if subnet is None:
        yield path, f"address {address} needs a subnet that holds it", "add `subnet: …` to the instance"
    elif subnet.prefixlen <= SMALLEST_SUBNET:
        yield from _within(path, address, subnet)


def _ports(config: NetworkInstanceConfig) -> Findings:
    holders: dict[object, str] = {}
    for name, app in config.apps.items():
        for where, port in mapped_ports(app):
            path = ("apps", name, *where)
            key = (_claimed_uplink(config, port), port.protocol, port.outer)
            if key in holders:
                message = f"outer port {port.outer}/{port.protocol} is already app {holders[key]}'s"
                yield path, message, "choose another outer port"
            holders.setdefault(key, name)
            if config.uplinks == ():
                yield path, "a port map needs an uplink, and `uplinks: []` has none", "name an uplink, or remove it"
            elif port.uplink:
                yield from check_uplink(path, port.uplink)
