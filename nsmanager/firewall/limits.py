"""What an instance's own tables do about its limits: connections, neighbours, DNS and DHCP, broadcasts. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nsmanager.firewall.admission import FIRST, INSIDE, NEAR_SIZE
from nsmanager.firewall.exit import Inbound, exits
from nsmanager.firewall.words import chain, indented
from nsmanager.names import BRIDGE
from pubsub.topics import NamespaceConfig

OPENING = f"{FIRST} jump opening"  # where a packet is about to be accepted
LIMITED = ("connections", "neighbours", "queries")  # as the fields of LimitsConfig; in `table inet nsvisor`
FAMILIES = (("ipv4", "near4"), ("ipv6", "near6"))
ASKED = "asked/queries"  # counter of all queries
SENT = "sent/broadcasts"  # counter of all frames of apps that are for many
LEASE_RATE = 100  # of an app: DHCP messages a second
LEASE_BURST = 1000  # and at once: a hundred hosts behind a link come up


def refused_counter(name: str) -> str:
    """Name the counter of what was over a limit."""
    return f"refused/{name}"


def chains(config: NamespaceConfig) -> str:
    """Return the chains that `OPENING` needs."""
    lines = [*chain("refusing", _refused("connections")), *chain("too-near", _refused("neighbours"))]
    opening = list(INSIDE.connections(config.limits.connections))
    if _is_open(config):
        opening += [f'oifname "{BRIDGE}" meta nfproto {ip} jump {near}' for ip, near in FAMILIES]
        for name, ip in (("near4", "ip"), ("near6", "ip6")):
            lines += chain(name, INSIDE.neighbours(config.limits.neighbours, ip))
    lines += chain("opening", opening)
    return "\n" + indented(lines).rstrip("\n") + "\n"


def queries(config: NamespaceConfig) -> str:
    """Return the rule that bounds the apps' DNS queries; of those by TCP the connections are bounded."""
    limit = f'counter name "{ASKED}" '
    limit += f"limit rate over {config.limits.queries}/second burst {config.limits.queries} packets"
    return indented([f'iifname "{BRIDGE}" udp dport 53 {limit} {" ".join(_refused("queries"))}'], 2)


def broadcasts(config: NamespaceConfig) -> str:
    """Return the rule that bounds an app's frames that are for many, in the chain of its port alone."""
    most = config.limits.broadcasts
    limit = f'counter name "{SENT}" limit rate over {most}/second burst {most} packets'
    return indented([f"meta pkttype {{ broadcast, multicast }} {limit} {' '.join(_refused('broadcasts'))}"], 2)


def lease_requests(config: NamespaceConfig, port: int) -> str:
    """Return the rule that bounds what an app asks of our DHCP server, in the chain of its port alone; or nothing."""
    if config.bridge is None:
        return ""
    limit = f"limit rate over {LEASE_RATE}/second burst {LEASE_BURST} packets"
    return indented([f"udp dport {port} {limit} {' '.join(_refused('leases'))}"], 2)


def kept_of_ports() -> Iterator[str]:
    """Yield the declarations of what `broadcasts` and `lease_requests` have counted so far."""
    yield from (f"counter {name} {{ }}" for name in (SENT, refused_counter("broadcasts"), refused_counter("leases")))


def kept(config: NamespaceConfig) -> Iterator[str]:
    """Yield the declarations of what has counted so far."""
    limits = config.limits
    yield f"counter {ASKED} {{ }}"
    yield from (f"counter {refused_counter(name)} {{ }}" for name in LIMITED)
    yield from INSIDE.kept(limits.connections)
    if _is_open(config):
        yield from INSIDE.kept_near(limits.neighbours)
        yield from INSIDE.near_sets(min(NEAR_SIZE, limits.neighbours))


def _is_open(config: NamespaceConfig) -> bool:
    """Tell whether connections come in to any address of the subnet, not the apps' only: as through tunnels."""
    return any(way.inbound is Inbound.ALL for way in exits(config))


def _refused(name: str) -> list[str]:
    return [f'counter name "{refused_counter(name)}" drop']
