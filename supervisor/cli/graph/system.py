"""What of a running system is drawn: from the tables of its bus to boxes and lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from pubsub import topics
from pubsub.topics import InstanceType, State
from supervisor.cli.graph.picture import Column, Edge, Node, Picture, Tone

OUTSIDE = "outside"
TONES = {State.READY: Tone.GOOD, State.FAILED: Tone.BAD}  # of instances; all other states: a warning


class System(msgspec.Struct, frozen=True):
    """The tables, by their keys."""

    host: str
    uplinks: Mapping[str, topics.DeviceNetworkStatus]
    instances: Mapping[str, topics.NetworkInstanceStatus]
    apps: Mapping[str, topics.AppNetworkStatus]
    managers: Mapping[str, topics.NamespaceStatus]
    configs: Mapping[str, topics.NetworkInstanceConfig]  # which apps are one workload with several links


def natural(name: str) -> list[tuple[int, str]]:
    """Return by what names are sorted: numbers in them count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def draw(system: System) -> Picture:
    """Return the picture. Pure, and the same for the same tables in whatever order."""
    uplinks = sorted({*system.uplinks, *_lent(system)}, key=natural)
    order = {name: index for index, name in enumerate(uplinks)}
    instances = sorted(
        system.instances.values(),
        key=lambda one: (min((order[name] for name in in_use(one)), default=len(order)), natural(one.name)),
    )
    nodes = [_uplink(name, system) for name in uplinks]
    edges = [
        Edge(_id("uplink", name), _id("instance", one.name), tone=_tone_of_uplink(name, system), tunnel=_tunnelled(one))
        for one in instances
        for name in sorted(in_use(one), key=natural)
    ]
    outer, ways = _outside(uplinks, system)
    peers, tunnels = _tunnels(instances, system)
    apps, links = _apps(instances, system)
    nodes += [*(_instance(one) for one in instances), *apps]
    return Picture(system.host, (*peers, *outer, *nodes), (*ways, *tunnels, *edges, *links))


def in_use(instance: topics.NetworkInstanceStatus) -> tuple[str, ...]:
    """Return the uplinks that an instance uses now."""
    return instance.uplinks or ((instance.uplink,) if instance.uplink else ())


def _id(kind: str, name: str) -> str:
    return f"{kind} {name}"


def _lent(system: System) -> set[str]:
    """Return the uplinks that the host has not: they are in a layer 2 instance."""
    return {name for one in system.instances.values() for name in in_use(one)} - system.uplinks.keys()


def _tone_of_uplink(name: str, system: System) -> Tone:
    status = system.uplinks.get(name)
    if status is None:
        return Tone.PLAIN
    return Tone.GOOD if status.healthy else Tone.BAD


def _uplink(name: str, system: System) -> Node:
    status = system.uplinks.get(name)
    if status is None:
        owner = next(one.name for one in system.instances.values() if name in in_use(one))
        return Node(_id("uplink", name), Column.UPLINK, name, (f"lent to {owner}",))
    lines = [*map(str, status.addresses), *map(str, status.addresses6)]
    lines += [", ".join(status.labels)] if status.labels else []
    health = "healthy" if status.healthy else status.reason or "not healthy"
    lines.append(f"cost {status.cost}, {health}")
    return Node(_id("uplink", name), Column.UPLINK, name, tuple(lines), _tone_of_uplink(name, system))


def _outside(uplinks: Iterable[str], system: System) -> tuple[list[Node], list[Edge]]:
    """Return the network outside, with the gateways on the lines to it."""
    ways = []
    for name in uplinks:
        status = system.uplinks.get(name)
        gateways = (*status.gateways, *status.gateways6) if status else ()
        if gateways or status is None:
            label = f"{gateways[0]}{' …' if gateways[1:] else ''}" if gateways else ""
            ways.append(Edge(OUTSIDE, _id("uplink", name), label, _tone_of_uplink(name, system)))
    return [Node(OUTSIDE, Column.OUTSIDE, OUTSIDE)] if ways else [], ways


def _tunnelled(status: topics.NetworkInstanceStatus) -> bool:
    return status.type is InstanceType.VPN


def _tunnels(instances: Iterable[topics.NetworkInstanceStatus], system: System) -> tuple[list[Node], list[Edge]]:
    """Return the far ends of tunnels, and the lines from them to the uplinks by which they are reached."""
    nodes, edges = [], []
    for instance in instances:
        status = system.managers.get(instance.name)
        for tunnel in sorted(status.tunnels, key=lambda one: natural(one.name)) if status else ():
            peer = _id("peer", f"{instance.name}/{tunnel.name}")
            tone = Tone.GOOD if tunnel.up else Tone.BAD
            how = "WireGuard" if tunnel.kind == "wireguard" else f"ESP in {tunnel.esp}"
            state = how if tunnel.up else tunnel.reason or "down"
            lines = [tunnel.remote] if tunnel.remote else []
            nodes.append(Node(peer, Column.PEER, tunnel.name, (*lines, *tunnel.networks, state), tone))
            edges += [Edge(peer, _id("uplink", name), tone=tone, tunnel=True) for name in in_use(instance)]
    return nodes, edges


def _instance(status: topics.NetworkInstanceStatus) -> Node:
    lines = [f"{status.type}, {status.state}"]
    if status.subnet or status.type is not InstanceType.SWITCH:
        lines.append(str(status.subnet or "no subnet"))
    if status.state is not State.READY and status.reason:
        lines.append(status.reason)
    return Node(
        _id("instance", status.name), Column.INSTANCE, status.name, tuple(lines), TONES.get(status.state, Tone.WARNING)
    )


def _apps(instances: Iterable[topics.NetworkInstanceStatus], system: System) -> tuple[list[Node], list[Edge]]:
    """Return the apps and their links; one that is attached to several instances is one box."""
    found: dict[str, list[topics.AppNetworkStatus]] = {}
    edges = []
    for instance in instances:
        here = [app for app in system.apps.values() if app.instance == instance.name]
        for app in sorted(here, key=lambda one: natural(one.app)):
            box = _id("app", _workload(app, system))
            found.setdefault(box, []).append(app)
            tone = Tone.GOOD if app.attached else Tone.WARNING if app.kind else Tone.PLAIN
            edges.append(Edge(_id("instance", instance.name), box, tone=tone))
    portmaps = {name: status.portmaps for name, status in system.instances.items()}
    nodes = []
    for box, links in found.items():
        lines = [line for link in links for line in _link(link, several=len(links) > 1)]
        for link in links:
            lines += dict.fromkeys(_port_map(one) for one in portmaps[link.instance] if one.app == link.app)
        attached = Tone.GOOD if all(link.attached for link in links) else Tone.WARNING
        nodes.append(
            Node(
                box,
                Column.APP,
                links[0].app,
                tuple(lines),
                attached if any(link.kind for link in links) else Tone.PLAIN,
            )
        )
    return nodes, edges


def _port_map(status: topics.PortMapStatus) -> str:
    """Return a port map in short: it is the same at all addresses of its uplink."""
    outer, inner = (end.rpartition(":")[2] for end in (status.outer, status.inner))
    return f"{status.uplink}:{outer} → {inner}/{status.protocol}"


def _workload(app: topics.AppNetworkStatus, system: System) -> str:
    """Return what is the same for all links of a container, network namespace or process."""
    config = system.configs.get(app.instance)
    wanted = config.apps[app.app].attach if config and app.app in config.apps else None
    if wanted and wanted.netns:
        return f"{app.app} netns {wanted.netns}"
    if wanted and wanted.container:
        return f"{app.app} container {wanted.container}"
    return f"{app.instance}/{app.app}"


def _link(app: topics.AppNetworkStatus, *, several: bool) -> list[str]:
    addresses = app.addresses or ((str(app.address),) if app.address else ())
    where = f" in {app.instance}" if several else ""
    lines = [f"{address}{where}" for address in addresses] or [f"no address{where}"]
    return [*lines, app.reason] if app.reason and not app.attached else lines
