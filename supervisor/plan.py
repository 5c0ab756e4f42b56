"""(configs, facts, lots) -> what the host must look like, and what each manager is told. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from nsmanager.items.address import Address
from nsmanager.items.nftables import NftTable
from nsmanager.items.route import Route
from nsmanager.items.sysctl import Sysctl
from nsmanager.marks import NFT_TABLE
from nsmanager.reconcile import Item
from pubsub.codec import digest
from pubsub.topics import NamespaceApp, NamespaceConfig, NetworkInstanceConfig, PortMapStatus, SupervisorSettings
from supervisor.facts import Facts, Uplink
from supervisor.firewall import Bound, host_table
from supervisor.instances import PLANNERS, Place, Resolved
from supervisor.items import Veth
from supervisor.names import TABLE_LINKS, UPLINK_IFNAME, host_end, link_addresses, uid_base
from supervisor.uplinks.selection import Selection, select
from supervisor.uplinks.tables import common_rules, local_rule_moved, uplink_items, uplink_sysctls


@dataclasses.dataclass(frozen=True)
class Lot:
    """What the ledger gave to an instance."""

    slot: int
    subnet: IPv4Network  # the configured one, or the automatic

    @property
    def uid_base(self) -> int:
        """The first uid of the instance's range."""
        return uid_base(self.slot)


@dataclasses.dataclass(frozen=True)
class InstancePlan:
    """One instance, planned."""

    lot: Lot
    resolved: Resolved
    selection: Selection
    bound: Bound | None  # None: air-gapped, no link
    host_address: IPv4Interface
    digest: str  # of the NetworkInstanceConfig
    core: NamespaceConfig  # what its manager is told, but for apps that come and go by `run` or `attach`
    lost: tuple[str, ...] = ()  # port maps that another instance has already, in words

    @property
    def config(self) -> NamespaceConfig:
        """What its manager is told."""
        return self.resolved.namespace

    @property
    def bindings(self) -> tuple[object, ...]:
        """What the instance's tracked connections rest on."""
        uplink = self.selection.uplink
        return (uplink and (uplink.ifindex, uplink.addresses), self.resolved.portmaps)

    def on_bridge(self, address: IPv4Address) -> IPv4Interface:
        """Return an app's address with the subnet's prefix length."""
        return IPv4Interface((address, self.config.bridge.network.prefixlen))

    @property
    def portmaps(self) -> tuple[PortMapStatus, ...]:
        """The port maps in force, one per address of the uplink."""
        uplink = self.selection.uplink
        addresses = {app.name: app.address for app in self.config.apps}
        return tuple(
            PortMapStatus(
                app=app,
                uplink=uplink.ifname,
                outer=f"{address.ip}:{portmap.outer}",
                inner=f"{addresses[app]}:{portmap.inner}",
                protocol=portmap.protocol,
            )
            for app, portmap in self.resolved.portmaps
            for address in (uplink.addresses if uplink else ())
            if uplink
        )


@dataclasses.dataclass(frozen=True)
class Plan:
    """The host and all instances."""

    items: tuple[Item, ...] = ()  # of the host, in the order of creation
    instances: dict[str, InstancePlan] = dataclasses.field(default_factory=dict)
    links: dict[str, tuple[Item, ...]] = dataclasses.field(default_factory=dict)  # those of one instance's link
    uplinks: dict[str, Uplink] = dataclasses.field(default_factory=dict)  # of the host
    borrowed: tuple[Sysctl, ...] = ()  # of links that are not ours: given back when they are needed no more


def plan(
    configs: Mapping[str, NetworkInstanceConfig], settings: SupervisorSettings, facts: Facts, lots: Mapping[str, Lot]
) -> Plan:
    """Plan every instance that has a lot. Without instances nothing of ours stays on the host."""
    instances = {
        name: plan_instance(name, config, settings, facts, lots[name])
        for name, config in sorted(configs.items())
        if name in lots
    }
    instances = settle_claims(instances)
    linked = {name: instance for name, instance in instances.items() if instance.bound is not None}
    if not linked:
        return Plan(instances=instances, uplinks=facts.uplinks)
    used = {i.selection.uplink.ifname: i.selection.uplink for i in linked.values() if i.selection.uplink is not None}
    uplinks = [used[ifname] for ifname in sorted(used)]
    taken = {name for name in linked if host_end(name) in facts.uplinks}  # the link of that name is somebody else's
    links = {
        name: tuple(link_items(name, linked[name], taken=name in taken)) for name in linked if name in facts.namespaces
    }
    table = host_table([i.bound for name, i in linked.items() if i.bound and name not in taken], uplinks)
    # What fails closed comes first, what lets packets through last.
    items = (
        *common_rules(settings.link_pool),
        *uplink_items(uplinks),
        local_rule_moved(),
        NftTable(family="inet", name=NFT_TABLE, text=table),
        *(item for name in links for item in links[name]),
    )
    borrowed = tuple(sysctl for uplink in uplinks for sysctl in uplink_sysctls(uplink))
    return Plan(items, instances, links, facts.uplinks, borrowed)


def settle_claims(instances: Mapping[str, InstancePlan]) -> dict[str, InstancePlan]:
    """Let each port of an uplink belong to one instance: to the older one, which has the lower slot."""
    claims: dict[tuple[str, str, int], str] = {}
    settled = dict(instances)
    for name, instance in sorted(instances.items(), key=lambda entry: entry[1].lot.slot):
        uplink = instance.selection.uplink
        if uplink is None:
            continue
        kept, lost = [], []
        for app, portmap in instance.resolved.portmaps:
            holder = claims.setdefault((uplink.ifname, portmap.protocol, portmap.outer), name)
            if holder == name:
                kept.append((app, portmap))
            else:
                lost.append(
                    f"app {app}: port {portmap.outer}/{portmap.protocol} of {uplink.ifname} is instance {holder}'s; "
                    "choose another port or uplink"
                )
        if lost:
            settled[name] = dataclasses.replace(
                instance,
                resolved=dataclasses.replace(instance.resolved, portmaps=tuple(kept)),
                bound=instance.bound and dataclasses.replace(instance.bound, portmaps=tuple(p for _, p in kept)),
                lost=tuple(lost),
            )
    return {name: settled[name] for name in instances}


def plan_instance(
    name: str, config: NetworkInstanceConfig, settings: SupervisorSettings, facts: Facts, lot: Lot
) -> InstancePlan:
    """Resolve one instance: its uplink, its addresses, what its manager is told."""
    selection = select(config, facts)
    uplink = selection.uplink
    host, inner = link_addresses(settings.link_pool, lot.slot)
    place = Place(
        name=name,
        host_end=host,
        inner_end=inner,
        subnet=lot.subnet,
        mtu=min(config.mtu, uplink.mtu) if uplink else config.mtu,
        ports={app: port for (instance, app), port in facts.ports.items() if instance == name},
        linked=config.uplinks != (),
    )
    resolved = PLANNERS[config.type](config, place)
    bound = Bound(
        link=host_end(name),
        host_end=host.ip,
        inner_end=inner.ip,
        subnet=lot.subnet,
        uplink=uplink,
        portmaps=tuple(portmap for _, portmap in resolved.portmaps),
    )
    core = PLANNERS[config.type](config, dataclasses.replace(place, ports={})).namespace
    return InstancePlan(lot, resolved, selection, bound if place.linked else None, host, digest(config), core)


def link_items(name: str, instance: InstancePlan, *, taken: bool = False) -> list[Item]:
    """Plan the host's side of one instance's link; where its name is `taken`, only the link, which is refused then."""
    ifname = host_end(name)
    inner = instance.config.link
    assert inner is not None, "an instance with a link"
    veth = Veth(ifname=ifname, peer=UPLINK_IFNAME, netns=name, mtu=instance.config.mtu, mac=inner.gateway_mac)
    if taken:
        return [veth]
    return [
        veth,
        Sysctl(f"net.ipv6.conf.{ifname}.disable_ipv6", "1", optional=True),
        Sysctl(f"net.ipv4.conf.{ifname}.forwarding", "1"),
        Sysctl(f"net.ipv4.conf.{ifname}.src_valid_mark", "1"),
        Sysctl(f"net.ipv4.conf.{ifname}.rp_filter", "1"),
        Sysctl(f"net.ipv4.conf.{ifname}.send_redirects", "0"),
        Address(ifname=ifname, address=instance.host_address),
        Route(to=IPv4Network(inner.address.ip), table=TABLE_LINKS, dev=ifname),
    ]


def planned_app(plan: InstancePlan, app: str) -> NamespaceApp | None:
    """Return an app as it is planned, None when the config doesn't name it."""
    return next((one for one in plan.config.apps if one.name == app), None)
