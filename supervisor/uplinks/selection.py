"""Which uplink an instance uses, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pubsub.topics import UplinkConfig
from supervisor.facts import Facts, Health, Uplink
from supervisor.names import LAST_IFINDEX

NO_CONFIG = UplinkConfig()


class Candidate(msgspec.Struct, frozen=True):
    """One uplink with all that counts for choosing it."""

    uplink: Uplink
    cost: int = 0
    labels: tuple[str, ...] = ()
    configured: bool = False
    health: Health = msgspec.field(default_factory=Health)

    @property
    def trouble(self) -> str:
        """Why it is not healthy; empty when it is."""
        return self.uplink.trouble or self.health.reason

    @property
    def markable(self) -> bool:
        """Whether there is a mark for its packets."""
        return self.uplink.ifindex <= LAST_IFINDEX

    def is_called(self, name: str) -> bool:
        """Tell whether a name of the config means it."""
        return name == self.uplink.ifname or name in self.labels


class Selection(msgspec.Struct, frozen=True):
    """The uplinks of one instance."""

    uplink: Uplink | None  # the selected one
    reason: str = ""  # why it can't be used; empty: usable, or none wanted
    why: str = ""  # why this one and no other
    eligible: tuple[Uplink, ...] = ()  # all that it may use, now or later
    shared: tuple[Uplink, ...] = ()  # over which its connections are spread; one unless it asks for more


def candidates(facts: Facts, configs: Mapping[str, UplinkConfig]) -> dict[str, Candidate]:
    """Return every link of the host that can be an uplink, as the config wants it."""
    found = {}
    for ifname, uplink in facts.uplinks.items():
        config = configs.get(ifname, NO_CONFIG)
        wanted = msgspec.structs.replace(uplink, resolvers=config.dns or uplink.resolvers)
        health = facts.health.get(ifname, Health())
        found[ifname] = Candidate(wanted, config.cost, config.labels, ifname in configs, health)
    return found


def select(
    names: tuple[str, ...] | None, known: Mapping[str, Candidate], present: str = "", *, balance: bool = False
) -> Selection:
    """Choose for one instance: the cheapest healthy one, then who has most endpoints up, then the present one.

    Where none is healthy the best of the others is kept, with its trouble as the reason: the instance waits for it, and
    never leaves by another way than those configured.
    """
    if names == ():
        return Selection(None)
    eligible = may_use(names, known)
    if not eligible:
        return Selection(None, missing(names, known))
    order = {candidate.uplink.ifname: place for place, candidate in enumerate(eligible)}

    def rank(candidate: Candidate) -> tuple[object, ...]:
        uplink = candidate.uplink
        state = 2 if uplink.trouble else 0 if candidate.health.healthy else 1
        return (
            state,
            candidate.cost,
            -candidate.health.endpoints_up,
            uplink.ifname != present,
            0 if names else uplink.metric,
            order[uplink.ifname],
        )

    ranked = sorted(eligible, key=rank)
    best = ranked[0]
    shared = [best]
    if balance and not best.trouble:
        shared = [one for one in ranked if not one.trouble and one.cost == best.cost]
    return Selection(
        best.uplink,
        best.trouble,
        explain(ranked, present),
        tuple(candidate.uplink for candidate in eligible),
        tuple(sorted((one.uplink for one in shared), key=lambda uplink: uplink.ifindex)),
    )


def may_use(names: Iterable[str] | None, known: Mapping[str, Candidate]) -> list[Candidate]:
    """Return the uplinks that names or labels mean, in their order; None: those configured, or with a default route."""
    ordered = [one for _, one in sorted(known.items()) if one.markable]
    if names is None:
        return [one for one in ordered if one.configured or one.uplink.defaults]
    return list({one.uplink.ifname: one for name in names for one in ordered if one.is_called(name)}.values())


def missing(names: tuple[str, ...] | None, known: Mapping[str, Candidate]) -> str:
    """Say why there is no uplink to choose from."""
    markless = [one for one in known.values() if not one.markable]
    if any(one.is_called(name) if names else one.uplink.defaults for one in markless for name in names or ("",)):
        listed = ", ".join(one.uplink.ifname for one in markless)
        return f"the ifindex of {listed} is above {LAST_IFINDEX}: marks end there; reboot"
    if names is None:
        return "the host has no default route and no configured uplink; name the instance's, or give the host a route"
    listed = ", ".join(repr(name) for name in names)
    labels = {label for one in known.values() for label in one.labels}
    return f"uplink {listed} does not exist; known: {', '.join(sorted({*known, *labels})) or 'none'}"


def explain(ranked: list[Candidate], present: str) -> str:
    """Say why the first one was chosen."""
    best, rest = ranked[0], ranked[1:]
    if best.trouble:
        return f"none is healthy: {'; '.join(dict.fromkeys(one.trouble for one in ranked))}"
    if not rest:
        return "the only one"
    sick = [one.trouble for one in rest if one.trouble and one.cost <= best.cost]
    if sick:
        return "; ".join(sick)
    second = next((one for one in rest if not one.trouble), None)
    if second is None or second.cost > best.cost:
        return f"the lowest cost ({best.cost}) of {len(ranked)}"
    if second.health.endpoints_up < best.health.endpoints_up:
        return f"most endpoints up ({best.health.endpoints_up})"
    return "was selected before" if best.uplink.ifname == present else "the first of equals"
