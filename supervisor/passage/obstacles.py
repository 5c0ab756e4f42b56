"""Which rules of others in the host's forward hook keep instances from the outside, and what mends that. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

import msgspec

from nsmanager.marks import LINK_GROUP, NFT_TABLE
from supervisor.names import HOST_END_PREFIX
from supervisor.passage.judge import Asked, Decision, Trial
from supervisor.passage.packet import IpAddress, Packet
from supervisor.passage.ruleset import Chain, Ruleset

REMEDY = "; let them pass: "  # before the command
OURS = f"{HOST_END_PREFIX}*"
# Who is asked for: RFC 5737, 3849. A rule for these very addresses says nothing of others.
OUTSIDE: dict[int, str] = {4: "198.51.100.1", 6: "2001:db8:ffff::1"}


class Passage(msgspec.Struct, frozen=True):
    """A way that packets of an instance must be able to take on the host, and answers back."""

    link: str  # ifname of the host's end
    inner: IpAddress  # the instance's end
    uplink: str  # ifname
    mark: int = 0
    mapped: tuple[str, int] | None = None  # protocol and port of a port map: connections come in, too


class Obstacle(msgspec.Struct, frozen=True):
    """A rule, or the policy of a chain, that drops packets of an instance."""

    chain: str  # as nft knows it: ip filter FORWARD
    what: str  # `policy drop`, or the rule
    remedy: str  # one command

    def __str__(self) -> str:
        return f"{self.what} in chain {self.chain} of the host drops packets of instances{REMEDY}{self.remedy}"


class Unasked:
    """Of sets it is known only that they are there: what hangs on their elements can't be judged."""

    def listing(self, chain: str) -> str:
        """Return the command that lists a chain."""
        return f"nft list chain {chain}"

    def element(self, table: str, name: str, key: str) -> Asked:
        """Raises LookupError."""
        raise LookupError(f"{key} in set {name} of table {table}")

    def masquerade(self, packet: Packet) -> IpAddress:
        """Return the packet's own source: nothing is translated in the forward hook."""
        return packet.source


def is_foreign(family: str, table: str) -> bool:
    """Tell whether a table may hold rules of others for what is forwarded."""
    return family in ("ip", "ip6", "inet") and table not in (NFT_TABLE, f"{NFT_TABLE}_digest")


def obstacles(ruleset: Ruleset, passage: Passage) -> tuple[Obstacle, ...]:
    """Return what drops the packets of a passage. Where a rule that can't be judged may let them pass, nothing."""
    found = [one for packet in packets(passage) for one in _drops(ruleset, packet)]
    return tuple(dict.fromkeys(found))


def packets(passage: Passage) -> Iterator[Packet]:
    """Yield a first packet out, its answer, and a first packet in by a port map, as the forward hook sees them."""
    outside, inner, mark = ip_address(OUTSIDE[passage.inner.version]), passage.inner, passage.mark
    out = Packet(inner, outside, "tcp", 443, iif=passage.link, oif=passage.uplink, iifgroup=LINK_GROUP, mark=mark)
    answer = Packet(outside, inner, "tcp", 443, iif=passage.uplink, oif=passage.link, oifgroup=LINK_GROUP, mark=mark)
    yield msgspec.structs.replace(out, ct_mark=mark)
    yield msgspec.structs.replace(answer, ct_mark=mark, answers=True)
    if passage.mapped:
        protocol, port = passage.mapped
        yield msgspec.structs.replace(answer, protocol=protocol, port=port, translated=frozenset({"dnat"}))


def _drops(ruleset: Ruleset, packet: Packet) -> Iterator[Obstacle]:
    """Yield what drops a packet in each of the hook's chains, though an earlier one has dropped it."""
    for chain in ruleset.base_chains("forward", packet.version):
        if not is_foreign(chain.family, chain.table):
            continue
        trial = Trial(ruleset, Unasked(), packet)
        if not trial.judge(chain) and not any(decision.kind == "unknown" for decision in trial.decisions):
            yield _obstacle(ruleset, chain, trial.decisions[-1], packet)


def _obstacle(ruleset: Ruleset, base: Chain, decision: Decision, packet: Packet) -> Obstacle:
    what = decision.by[-1].partition(": ")[2]
    what = "policy drop" if what.startswith("policy drop") else f"rule `{' '.join(what.split())}`"
    return Obstacle(decision.chain.words, what, remedy(ruleset, base, packet.version))


def remedy(ruleset: Ruleset, base: Chain, version: int) -> str:
    """Return the command that lets instances pass a chain, in the words of who made it."""
    if base.table == "firewalld":
        return f"firewall-cmd --permanent --zone=trusted --add-interface={HOST_END_PREFIX}+ && firewall-cmd --reload"
    if (base.family, base.table, base.name) in (("ip", "filter", "FORWARD"), ("ip6", "filter", "FORWARD")):
        of_docker = (base.family, base.table, "DOCKER-USER") in ruleset.chains
        into, iptables = "DOCKER-USER" if of_docker else "FORWARD", "ip6tables" if version == 6 else "iptables"
        return f"for way in i o; do {iptables} -I {into} -$way {HOST_END_PREFIX}+ -j ACCEPT; done"
    both = "; ".join(f'insert rule {base.words} {way}ifname "{OURS}" accept' for way in "io")
    return f"nft '{both}'"


def told_apart(texts: Iterable[str], links: Iterable[str]) -> frozenset[str]:
    """Return the links that rules, as text, don't treat like all others of ours."""
    named = {name for text in texts for name in re.findall(r'"(v-[^"]*)"', text)} - {OURS}
    patterns = tuple(name[:-1] for name in named if name.endswith("*"))
    return frozenset(link for link in links if link in named or link.startswith(patterns))
