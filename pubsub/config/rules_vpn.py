"""What a VPN instance must fulfil beyond its types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import PurePosixPath

from pubsub.config.rules_wireguard import check_wireguard
from pubsub.config.rules_words import Findings, Path
from pubsub.topics import (
    InstanceType,
    IpsecConnection,
    Ipv6Mode,
    NetworkInstanceConfig,
    SupervisorSettings,
    WireguardConfig,
    WireguardPeer,
)
from pubsub.values import Duration, Interval

CONNECTION_NAME_LENGTH = 32  # of the file names of its secrets
CONNECTION_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
PROPOSAL = re.compile(r"[a-z0-9_]+(-[a-z0-9_]+)*")  # strongSwan's words, as aes256gcm16-prfsha384-ecp384
IDENTITY = re.compile(r"[!-~]([ -~]{0,254}[!-~])?")
DPD_RANGE = (Interval(1.0), Interval(3600.0))
SHORTEST_REKEY = Duration(60)  # seconds; charon spreads it by a tenth
PROOFS = ("certificate_file", "key_file", "ca_file")  # that belong together
FILES = ("secret_file", *PROOFS)


def check_vpn(config: NetworkInstanceConfig, settings: SupervisorSettings) -> Findings:
    """Yield what is wrong with the tunnels of one instance, and with what can't go together with them."""
    if config.type is not InstanceType.VPN:
        if config.vpn is not None:
            yield ("vpn",), f"a {config.type} instance has no tunnels", "add `type: vpn`, or remove `vpn`"
        return
    if not _connections(config) and _wireguard(config) is None:
        message = "a vpn instance without a connection reaches nothing"
        yield ("vpn",), message, "add `vpn: {connections: {NAME: {remote: …, remote_subnets: […]}}}`, or `wireguard`"
    yield from _excluded(config)
    taken: list[tuple[IPv4Network | IPv6Network, str]] = []
    for path, name, tunnel in _tunnels(config):
        if not CONNECTION_NAME.fullmatch(name) or len(name) > CONNECTION_NAME_LENGTH:
            remedy = f"use a-z, 0-9 and -, at most {CONNECTION_NAME_LENGTH} characters, and no - at either end"
            yield path, f"{name!r} can't be a connection's name", remedy
        yield from _remote(path, tunnel, config, settings)
        yield from _networks(path, name, tunnel, config, taken)
        if isinstance(tunnel, IpsecConnection):
            yield from _own_networks(path, tunnel, config)
            yield from _proof(path, tunnel)
            yield from _negotiation(path, tunnel)
    yield from check_wireguard(config)
    yield from _files(config)


def _excluded(config: NetworkInstanceConfig) -> Findings:
    """Yield what needs another way out than a tunnel."""
    if config.uplinks == ():
        yield ("uplinks",), "a tunnel needs an uplink, and `uplinks: []` has none", "name an uplink, or remove it"
    if config.ipv6 is Ipv6Mode.ROUTED:
        message = "the prefix of a vpn instance is reached by its tunnels only"
        yield ("ipv6",), message, "use `ipv6: nat`: through a tunnel packets keep their addresses"
    for name, app in config.apps.items():
        message = "nothing comes in to a vpn instance by an uplink"
        remedy = "remove it: through a tunnel the app is reached by its own address"
        if app.ports:
            yield ("apps", name, "ports"), message, remedy
        for index, rule in enumerate(app.rules or ()):
            if rule.portmap is not None:
                yield ("apps", name, "rules", str(index), "portmap"), message, remedy
    reached = [one.network for _, _, tunnel in _tunnels(config) for one in tunnel.remote_subnets]
    for index, server in enumerate(config.dns.servers):
        if not any(server in network for network in reached):
            message = f"no tunnel leads to the DNS server {server}"
            yield ("dns", "servers", str(index)), message, "name its network in a connection's `remote_subnets`"
    for index, route in enumerate(config.routes):
        if not route.app:
            message = f"the route to {route.to} would lead around the tunnels"
            yield ("routes", str(index)), message, "name its network in a connection's `remote_subnets`"


def _remote(
    path: Path, tunnel: IpsecConnection | WireguardPeer, config: NetworkInstanceConfig, settings: SupervisorSettings
) -> Findings:
    path, address = (*path, "remote"), tunnel.remote.ip
    scoped = address.version == 6 and address.is_link_local
    if address.is_multicast or address.is_loopback or address.is_unspecified or scoped:
        yield path, f"{address} can't be a peer: it is no host outside", "write the address of the peer's gateway"
    if address.version == 6 and config.ipv6 is Ipv6Mode.OFF:
        yield path, f"{address} is reached by IPv6, and `ipv6: off` has none", "remove `ipv6: off`"
    own = (config.subnet, config.subnet6, settings.link_pool, settings.link_pool6)
    holder = next((network for network in own if network is not None and address in network), None)
    if holder is not None:
        yield path, f"the peer {address} lies in {holder}, the instance's own", "choose another subnet or pool"


def _networks(
    path: Path,
    name: str,
    tunnel: IpsecConnection | WireguardPeer,
    config: NetworkInstanceConfig,
    taken: list[tuple[IPv4Network | IPv6Network, str]],
) -> Findings:
    """Yield what is wrong with the networks behind a peer. `taken`: those of the connections before, and whose."""
    if not tunnel.remote_subnets:
        yield (*path, "remote_subnets"), "the tunnel leads nowhere", "write the networks behind the peer"
    for index, selector in enumerate(tunnel.remote_subnets):
        here, network = (*path, "remote_subnets", str(index)), selector.network
        own = next((one for one in (config.subnet, config.subnet6) if one and _inside(network, one)), None)
        if own is not None:
            yield here, f"{network} lies in the instance's own subnet {own}", "choose another subnet for the instance"
        holder = next((one for other, one in taken if _overlap(network, other)), None)
        if holder is not None:
            which = "another one" if holder == name else f"one of connection {holder}"
            yield here, f"{network} overlaps {which}", "let each network be reached by one connection"
        if network.version == 6 and config.ipv6 is Ipv6Mode.OFF:
            yield here, f"{network} is reached by IPv6, and `ipv6: off` has none", "remove `ipv6: off`, or the network"
        taken.append((network, name))


def _own_networks(path: Path, connection: IpsecConnection, config: NetworkInstanceConfig) -> Findings:
    for index, selector in enumerate(connection.local_subnets):
        own = config.subnet if selector.network.version == 4 else config.subnet6
        if own is not None and not _overlap(selector.network, own):
            message = f"{selector} holds nothing of the instance's subnet {own}"
            yield (*path, "local_subnets", str(index)), message, "remove it, or write a network that holds the apps"


def _overlap(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _inside(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return _overlap(one, other) and one.prefixlen >= other.prefixlen


def _proof(path: Path, connection: IpsecConnection) -> Findings:
    """Yield what is wrong with how the peers prove who they are."""
    written = [field for field in PROOFS if getattr(connection, field)]
    if connection.secret_file and written:
        message = f"`secret_file` and `{written[0]}` exclude each other"
        yield (*path, "secret_file"), message, "write the secret's file, or the three of a certificate"
    elif not connection.secret_file and len(written) < len(PROOFS):
        missing = " and ".join(f"`{field}`" for field in PROOFS if field not in written)
        message = "nothing proves to the peer who we are" if not written else f"{missing} is missing"
        yield path, message, "add `secret_file`, or `certificate_file`, `key_file` and `ca_file`"
    if connection.secret_file and not connection.local_id:
        message = "a shared secret belongs to names, and behind NAT our address tells the peer nothing"
        yield (*path, "local_id"), message, "add `local_id: NAME`, as the peer knows us"
    for field in ("local_id", "remote_id"):
        identity = getattr(connection, field)
        if identity and (not IDENTITY.fullmatch(identity) or identity.startswith("%")):
            yield (*path, field), f"{identity!r} can't be an identity", "write a name, an address or a DN (C=…, CN=…)"


def _negotiation(path: Path, connection: IpsecConnection) -> Findings:
    for field in ("proposals", "esp_proposals"):
        for index, proposal in enumerate(getattr(connection, field)):
            if not PROPOSAL.fullmatch(proposal):
                message = f"{proposal!r} can't be a proposal"
                yield (*path, field, str(index)), message, "write strongSwan's words, as aes256-sha256-ecp256"
    low, high = DPD_RANGE
    if not low <= connection.dpd <= high:
        yield (*path, "dpd"), f"an interval of {connection.dpd} is not possible", f"use {low} to {high}"
    for field in ("rekey", "rekey_ike"):
        if getattr(connection, field) < SHORTEST_REKEY:
            message = f"new keys after {getattr(connection, field)} are not possible"
            yield (*path, field), message, f"use {SHORTEST_REKEY} or more"


def secret_files(config: NetworkInstanceConfig) -> Iterator[str]:
    """Yield the files that an instance names, which only root may read."""
    yield from (file for _, file in _named_files(config))


def _files(config: NetworkInstanceConfig) -> Findings:
    for path, file in _named_files(config):
        if not PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
            yield path, f"{file!r} is no absolute path", "write the path from /, without `..`"


def _named_files(config: NetworkInstanceConfig) -> Iterator[tuple[Path, str]]:
    for path, _, tunnel in _tunnels(config):
        for field in FILES if isinstance(tunnel, IpsecConnection) else ("secret_file",):
            if file := getattr(tunnel, field):
                yield (*path, field), file
    wireguard = _wireguard(config)
    if wireguard is not None:
        yield ("vpn", "wireguard", "key_file"), wireguard.key_file


def _tunnels(config: NetworkInstanceConfig) -> Iterator[tuple[Path, str, IpsecConnection | WireguardPeer]]:
    """Yield all tunnels: where each is written, its name, and itself."""
    for name, connection in _connections(config).items():
        yield ("vpn", "connections", name), name, connection
    wireguard = _wireguard(config)
    for name, peer in wireguard.peers.items() if wireguard is not None else ():
        yield ("vpn", "wireguard", "peers", name), name, peer


def _connections(config: NetworkInstanceConfig) -> dict[str, IpsecConnection]:
    return config.vpn.connections if config.vpn is not None else {}


def _wireguard(config: NetworkInstanceConfig) -> WireguardConfig | None:
    return config.vpn.wireguard if config.vpn is not None else None
