"""(configs, facts, lots) -> what the host must look like, and what each manager is told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import msgspec

from nsmanager.items.nftables import NftTable
from nsmanager.items.route import Route
from nsmanager.items.sysctl import Sysctl
from nsmanager.reconcile import Item
from pubsub.codec import digest
from pubsub.config.rules_vpn import secret_files
from pubsub.topics import (
    InstanceType,
    Ipv6Mode,
    NamespaceApp,
    NamespaceConfig,
    NamespaceOutlook,
    NetworkInstanceConfig,
    PortMapStatus,
    SupervisorSettings,
    UplinkConfig,
)
from pubsub.values import PortMap
from supervisor.facts import Facts, Uplink
from supervisor.firewall import Bound, host_table
from supervisor.instances import PLANNERS, Place, Resolved
from supervisor.instances.switch import lent_links, outer_links
from supervisor.links import LinkPlan, link_items
from supervisor.names import (
    UPLINK_IFNAME,
    host_end,
    link_addresses,
    link_addresses6,
    subnet6,
    uid_base,
)
from supervisor.sharing import Sharing, sharing_items, sharing_table
from supervisor.uplinks.choices import Choices
from supervisor.uplinks.selection import Candidate, Selection, candidates
from supervisor.uplinks.tables import (
    Way,
    borrowed_sysctls,
    common_rules,
    local_rules_moved,
    neighbours,
    uplink_way,
    way_items,
)
from supervisor.uplinks.ways import named_uplinks, router_marks, routes_of, way_to

NO_SUBNET = IPv4Network("0.0.0.0/32")  # stands in the place of a switch, which uses none
IPV6_MTU = 1280  # bytes; a link with less carries no IPv6 (RFC 8200)


class Lot(msgspec.Struct, frozen=True):
    """What the ledger gave to an instance."""

    slot: int
    subnet: IPv4Network | None  # the configured one, or the automatic; None: of a switch

    @property
    def uid_base(self) -> int:
        """The first uid of the instance's range."""
        return uid_base(self.slot)


class InstancePlan(msgspec.Struct, frozen=True):
    """One instance, planned."""

    lot: Lot
    config_from: NetworkInstanceConfig
    place: Place
    resolved: Resolved
    selection: Selection
    portmaps: tuple[tuple[str, PortMap, Uplink], ...]  # app, port map, where
    routes: tuple[tuple[IPv4Network, Uplink | None, IPv4Address | None], ...]  # static ones that leave the instance
    digest: str  # of the NetworkInstanceConfig
    core: NamespaceConfig  # what its manager is told, but for apps that come and go by `run` or `attach`
    bound: Bound | None = None  # None: air-gapped, no link
    outer: tuple[str, ...] = ()  # of a switch: ifnames of the host's links that lead out of it
    lost: tuple[str, ...] = ()  # port maps that another instance has already, in words

    @property
    def config(self) -> NamespaceConfig:
        """What its manager is told."""
        return self.resolved.namespace

    @property
    def lends(self) -> tuple[str, ...]:
        """The links of the host that it wants for itself, beside those of its apps."""
        return () if self.config_from.switch.shared else self.outer

    def sharing(self, facts: Facts) -> Sharing | None:
        """Return how it shares its uplink with the host; None: it doesn't, or one of both isn't there yet."""
        uplink = next((ifname for ifname in self.outer if ifname in facts.uplinks), "")
        if not self.config_from.switch.shared or not uplink or self.place.name not in facts.namespaces:
            return None
        return Sharing(self.place.name, uplink, tuple(str(app.mac) for app in self.config.apps), self.config.mtu)

    @property
    def link(self) -> LinkPlan:
        """Its link to the host; it isn't air-gapped."""
        assert self.config.link is not None, "an instance with a link"
        return LinkPlan(self.place.name, self.config.mtu, self.config.link, self.place.host_end, self.place.host_end6)

    @property
    def outlook(self) -> NamespaceOutlook:
        """What its manager is told of the world outside."""
        uplink = self.selection.uplink
        if uplink is None:
            return NamespaceOutlook()
        return NamespaceOutlook(
            uplink=uplink.ifname,
            external=tuple(address.ip for address in uplink.addresses),
            external6=tuple(address.ip for address in uplink.addresses6),
        )

    @property
    def inward(self) -> tuple[object, ...]:
        """What the connections rest on that came in by port maps."""
        return tuple((app, port, up.ifindex, up.addresses, up.addresses6) for app, port, up in self.portmaps)

    @property
    def outward(self) -> dict[int, tuple[object, ...]]:
        """What the connections rest on that went out, by mark."""
        ways = [*self.bound.shared, *(way for _, way in self.bound.routes if way)] if self.bound else []
        return {way.mark: (way.via, way.uplink.addresses, way.uplink.addresses6) for way in ways}

    def on_bridge(self, address: IPv4Address) -> IPv4Interface:
        """Return an app's address with the subnet's prefix length."""
        return IPv4Interface((address, self.config.router.network.prefixlen))

    @property
    def mapped(self) -> tuple[PortMapStatus, ...]:
        """The port maps in force, one per address of the uplink."""
        return tuple(self._mapped())

    def _mapped(self) -> Iterator[PortMapStatus]:
        apps = {app.name: app for app in self.config.apps}
        for name, portmap, uplink in self.portmaps:
            app = apps[name]
            pairs = [(f"{outer.ip}", f"{app.address}") for outer in uplink.addresses if app.address]
            pairs += [(f"[{outer.ip}]", f"[{app.address6}]") for outer in uplink.addresses6 if app.address6]
            for outer, inner in pairs:
                yield PortMapStatus(
                    app=name,
                    uplink=uplink.ifname,
                    outer=f"{outer}:{portmap.outer}",
                    inner=f"{inner}:{portmap.inner}",
                    protocol=portmap.protocol,
                )


class Plan(msgspec.Struct, frozen=True):
    """The host and all instances."""

    items: tuple[Item, ...] = ()  # of the host, in the order of creation
    instances: dict[str, InstancePlan] = msgspec.field(default_factory=dict)
    links: dict[str, tuple[Item, ...]] = msgspec.field(default_factory=dict)  # those of one instance's link
    candidates: dict[str, Candidate] = msgspec.field(default_factory=dict)  # the host's uplinks, by ifname
    used: tuple[Uplink, ...] = ()  # those that an instance may use now or later
    borrowed: tuple[Sysctl, ...] = ()  # of links that are not ours: given back when they are needed no more
    table: NftTable | None = None  # one of the items: who is bound to what


class Wanted(msgspec.Struct, frozen=True):
    """What the configuration says."""

    instances: Mapping[str, NetworkInstanceConfig] = msgspec.field(default_factory=dict)
    uplinks: Mapping[str, UplinkConfig] = msgspec.field(default_factory=dict)
    settings: SupervisorSettings = msgspec.field(default_factory=SupervisorSettings)


def plan(wanted: Wanted, facts: Facts, lots: Mapping[str, Lot], before: Plan | None = None) -> Plan:
    """Plan every instance that has a lot. Without instances nothing of ours stays on the host.

    `before` saves work only: what was resolved then and rests on the same is taken over.
    """
    planned = sorted((name for name in wanted.instances if name in lots), key=lambda name: lots[name].slot)
    lent = lent_links(wanted.instances, wanted.uplinks, planned)
    choices = Choices(candidates(facts, wanted.uplinks), lent, wanted.uplinks)
    known = choices.known
    past = before.instances if before else {}
    instances = settle_claims(
        {
            name: plan_instance(name, config, wanted, facts, lot=lots[name], choices=choices, before=past.get(name))
            for name, config in sorted(wanted.instances.items())
            if name in lots
        }
    )
    linked = {name: instance for name, instance in instances.items() if instance.place.linked}
    shared = [one for name, instance in instances.items() if (one := instance.sharing(facts)) is not None]
    sharing = {one.name: tuple(sharing_items(one)) for one in shared}
    frames = sharing_table(shared)
    if not linked:
        return Plan(
            (*(item for name in sharing for item in sharing[name]), *([frames] if frames else [])),
            instances,
            sharing,
            known,
        )
    instances = instances | bind_all(linked, facts)
    linked = {name: instances[name] for name in linked}
    used = used_uplinks(linked.values())
    ways = all_ways(used, linked.values())
    ipv6 = any(instance.place.inner_end6 for instance in linked.values())
    pools = (wanted.settings.link_pool, *((wanted.settings.link_pool6,) if ipv6 else ()))
    processors = facts.processors if wanted.settings.packet_steering else 0
    taken = {name for name in linked if host_end(name) in facts.uplinks}  # the link of that name is somebody else's
    links = {
        name: link_items(linked[name].link, forced6=facts.forced6, processors=processors, taken=name in taken)
        for name in linked
        if name in facts.namespaces
    }
    bound = [instance.bound for name, instance in linked.items() if instance.bound and name not in taken]
    table = host_table(bound, used, ways, guard6=not facts.forwarded6)
    limits = [instance.config_from.limits for instance in linked.values()]
    borrowed = (*facts.tables.at_least(limits), *borrowed_sysctls(used, facts, ipv6=ipv6))
    # What fails closed comes first, what lets packets through last.
    items = (
        *common_rules(pools),
        *borrowed,
        *neighbours(used),
        *way_items(ways, ipv6=ipv6),
        *local_rules_moved(pools),
        table,
        *(item for name in links for item in links[name]),
        *(item for name in sharing for item in sharing[name]),
        *([frames] if frames else []),
    )
    return Plan(items, instances, links | sharing, known, used, borrowed, table)


def used_uplinks(instances: Iterable[InstancePlan]) -> tuple[Uplink, ...]:
    """Return the uplinks that an instance may use now or later: each has its table before it is needed."""
    found = {}
    for instance in instances:
        named = [up for _, _, up in instance.portmaps] + [up for _, up, _ in instance.routes if up]
        found.update({up.ifname: up for up in (*instance.selection.eligible, *named)})
    return tuple(found[ifname] for ifname in sorted(found))


def all_ways(used: Iterable[Uplink], instances: Iterable[InstancePlan]) -> list[Way]:
    """Return every way that has a mark: the uplinks' own, with the prefixes routed by them, then static routes'."""
    prefixes: dict[str, list[Route]] = {}
    others: dict[int, Way] = {}
    for instance in instances:
        bound = instance.bound
        if bound is None:
            continue
        others |= {way.mark: way for _, way in bound.routes if way and way.via}
        if bound.routed6 and bound.subnet6:
            route = Route(to=bound.subnet6, via=bound.inner_end6, dev=bound.link)
            for way in bound.shared:
                prefixes.setdefault(way.uplink.ifname, []).append(route)
    own = [msgspec.structs.replace(uplink_way(up), prefixes=tuple(prefixes.get(up.ifname, ()))) for up in used]
    return own + [others[mark] for mark in sorted(others)]


def settle_claims(instances: Mapping[str, InstancePlan]) -> dict[str, InstancePlan]:
    """Let each port of an uplink belong to one instance: to the older one, which has the lower slot."""
    claims: dict[tuple[str, str, int], str] = {}
    settled = dict(instances)
    for name, instance in sorted(instances.items(), key=lambda entry: entry[1].lot.slot):
        kept, lost = [], []
        for app, portmap, uplink in instance.portmaps:
            holder = claims.setdefault((uplink.ifname, portmap.protocol, portmap.outer), f"{name}/{app}")
            if holder == f"{name}/{app}":
                kept.append((app, portmap, uplink))
            else:
                lost.append(
                    f"app {app}: port {portmap.outer}/{portmap.protocol} of {uplink.ifname} is {holder}'s; "
                    "choose another port or uplink"
                )
        if lost:
            settled[name] = msgspec.structs.replace(instance, portmaps=tuple(kept), lost=tuple(lost))
    return {name: settled[name] for name in instances}


def plan_instance(
    name: str,
    config: NetworkInstanceConfig,
    wanted: Wanted,
    facts: Facts,
    *,
    lot: Lot,
    choices: Choices,
    before: InstancePlan | None = None,
) -> InstancePlan:
    """Resolve one instance: its uplinks, its addresses, what its manager is told."""
    settings, switch = wanted.settings, config.type is InstanceType.SWITCH
    selection = choices.select(config, facts.present.get(name, ""))
    host, inner = link_addresses(settings.link_pool, lot.slot)
    host6, inner6 = link_addresses6(settings.link_pool6, lot.slot)
    mtu = min([config.mtu, *(uplink.mtu for uplink in selection.shared)])
    ipv6 = config.ipv6 is not Ipv6Mode.OFF and facts.ipv6 and mtu >= IPV6_MTU and not switch
    linked = config.uplinks != () and not switch
    outer = outer_links(config, wanted.uplinks)
    inside = facts.lent.get(name, ())
    place = Place(
        name=name,
        host_end=host,
        inner_end=inner,
        subnet=lot.subnet or NO_SUBNET,
        mtu=mtu,
        ports=facts.ports.get(name, {}),
        linked=linked,
        host_end6=host6 if ipv6 and linked else None,
        inner_end6=inner6 if ipv6 and linked else None,
        subnet6=(config.subnet6 or subnet6(settings.subnet_pool6, lot.slot)) if ipv6 else None,
        uplinks=words_of(selection, choices.known),
        connected=connected(selection) if config.dhcp.connected_routes else (),
        secrets={path: facts.secrets.get(path, "") for path in secret_files(config)},
        outer=shared_port(outer, facts) if config.switch.shared else tuple(one for one in outer if one in inside),
        several=len(outer) > 1,
        vlans=facts.vlans,
    )
    if before is not None and before.config_from == config and before.place == place:
        resolved, core, told = before.resolved, before.core, before.digest
    else:
        resolved, told = PLANNERS[config.type](config, place), digest(config)
        core = PLANNERS[config.type](config, msgspec.structs.replace(place, ports={})).namespace
    portmaps = tuple(
        (app, portmap, uplink)
        for app, portmap in resolved.portmaps
        for uplink in named_uplinks(portmap.uplink, selection, choices.known)
    )
    routes = tuple(routes_of(config, selection, choices.known)) if linked else ()
    return InstancePlan(lot, config, place, resolved, selection, portmaps, routes, told, core, outer=outer)


def shared_port(outer: tuple[str, ...], facts: Facts) -> tuple[str, ...]:
    """Return the port by which a switch that shares its uplink leads out; none while the uplink isn't there."""
    return (UPLINK_IFNAME,) if any(ifname in facts.uplinks for ifname in outer) else ()


def words_of(selection: Selection, known: Mapping[str, Candidate]) -> tuple[str, ...]:
    """Return the ifnames and labels of the uplinks that an instance uses now."""
    names = [uplink.ifname for uplink in selection.shared]
    return (*names, *dict.fromkeys(label for name in names for label in known[name].labels))


def connected(selection: Selection) -> tuple[IPv4Network, ...]:
    """Return the networks that the selected uplink is in."""
    return tuple(address.network for address in selection.uplink.addresses) if selection.uplink else ()


def bind_all(instances: Mapping[str, InstancePlan], facts: Facts) -> dict[str, InstancePlan]:
    """Return the instances as the host's table sees them; all at once, for each router of a static route has a mark."""
    marks = router_marks((up.ifname, via) for i in instances.values() for _, up, via in i.routes if up and via)
    share = facts.tables.share(instance.config_from.limits for instance in instances.values())
    found = {}
    for name, instance in instances.items():
        place, selection, limits = instance.place, instance.selection, instance.config_from.limits
        bound = Bound(
            link=host_end(name),
            host_end=place.host_end.ip,
            inner_end=place.inner_end.ip,
            subnet=place.subnet,
            uplink=selection.uplink,
            portmaps=tuple((portmap, uplink) for _, portmap, uplink in instance.portmaps),
            inner_end6=place.inner_end6 and place.inner_end6.ip,
            subnet6=place.subnet6 if place.inner_end6 else None,
            routed6=instance.config_from.ipv6 is Ipv6Mode.ROUTED and place.inner_end6 is not None,
            shared=tuple(uplink_way(uplink) for uplink in selection.shared),
            routes=tuple((to, way_to(up, via, marks)) for to, up, via in instance.routes),
            connections=min(limits.connections, share),
            neighbours=limits.neighbours,
        )
        found[name] = msgspec.structs.replace(instance, bound=bound)
    return found


def planned_app(plan: InstancePlan, app: str) -> NamespaceApp | None:
    """Return an app as it is planned, None when the config doesn't name it."""
    return next((one for one in plan.config.apps if one.name == app), None)
