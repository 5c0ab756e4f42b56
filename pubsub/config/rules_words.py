"""What all rules share: a finding, names of interfaces and uplinks, networks that nobody can use."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from pubsub.topics import UplinkConfig
from pubsub.values import UPLINK_WORD

IFNAME_LENGTH = 15  # IFNAMSIZ less the final zero
LABEL_LENGTH = 32  # as in a port map
IFNAME = re.compile(r"[A-Za-z0-9_.@-]+")  # less than the kernel allows: nothing that nft, dnsmasq or a shell reads
ALL_UPLINKS = "all"  # stands alone for every uplink, and so can't be the name of one

# Networks that no bridge can serve (RFC 1122 §3.2.1.3, RFC 1112, RFC 3927).
UNUSABLE = {
    IPv4Network("0.0.0.0/8"): "'this network'",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
}
# Networks that one can serve: global (RFC 4291) and unique local addresses (RFC 4193).
USABLE6 = (IPv6Network("2000::/3"), IPv6Network("fc00::/7"))

Path = tuple[str, ...]
Findings = Iterator[tuple[Path, str, str]]


class Finding(typing.NamedTuple):
    """One thing that is wrong in the config of an instance, of an uplink or in the settings."""

    name: str  # of the instance or the uplink; empty: in the settings
    path: Path  # below that
    message: str
    remedy: str


def check_ifname(path: Path, ifname: str) -> Findings:
    """Yield why a name can't be an interface's."""
    if not IFNAME.fullmatch(ifname) or ifname in (".", ".."):
        yield path, f"{ifname!r} can't be an interface's name", "see the names in `ip link`"
    elif len(ifname) > IFNAME_LENGTH:
        yield path, f"interface name {ifname!r} has {len(ifname)} characters", f"use at most {IFNAME_LENGTH}"


def check_label(path: Path, label: str) -> Findings:
    """Yield why a word can't be an uplink's label."""
    if not re.fullmatch(UPLINK_WORD, label):
        remedy = f"begin with a letter; use letters, digits, _ . @ and -, at most {LABEL_LENGTH} characters"
        yield path, f"{label!r} can't be an uplink's label", remedy
    else:
        yield from _reserved(path, label, "choose another label")


def check_uplink(path: Path, word: str) -> Findings:
    """Yield why a word can be neither the ifname of an uplink nor a label."""
    if re.fullmatch(UPLINK_WORD, word) is None:
        yield from check_ifname(path, word)  # one that begins with a digit is no label, but may be an interface's
    else:
        yield from _reserved(path, word, "name an interface that leads out, or a label")


def uplinks_meant(word: str, uplinks: Mapping[str, UplinkConfig]) -> set[str]:
    """Return the ifnames that a word may mean: itself, and those of the uplinks with that label."""
    return {word} | {ifname for ifname, config in uplinks.items() if word in config.labels}


def check_network(path: Path, network: IPv4Network) -> Findings:
    """Yield why no bridge can serve a network."""
    for other, what in UNUSABLE.items():
        if network.overlaps(other):
            yield path, f"{network} overlaps {other} ({what})", "use a private network, as 10.1.0.0/24"
            return


def check_network6(path: Path, network: IPv6Network) -> Findings:
    """Yield why no bridge can serve an IPv6 network."""
    if not any(network.subnet_of(usable) for usable in USABLE6):
        what = _kind6(network)
        message = f"{network} is {what}" if what else f"{network} is neither a unique local nor a global network"
        yield path, message, "use a unique local network (fd00::/8), as fd12:3456:789a::/64, or a global one"


def check_host(path: Path, address: IPv4Address, purpose: str) -> Findings:
    """Yield why an address can't be one host's."""
    for network, what in UNUSABLE.items():
        if address in network:
            yield path, f"{address} can't be {purpose}: it is {what}", "write the address of a host"
            return


def _reserved(path: Path, word: str, remedy: str) -> Findings:
    if word == ALL_UPLINKS:
        yield path, "'all' stands for every uplink, and is no name of one", remedy
    elif word == "lo" or word.startswith("v-"):
        yield path, f"{word!r} can't be an uplink: it leads nowhere out", remedy


def _kind6(network: IPv6Network) -> str:
    kinds = ("multicast", "link_local", "loopback")
    found = next((kind for kind in kinds if getattr(network.network_address, f"is_{kind}")), "")
    return found.replace("_", "-")
