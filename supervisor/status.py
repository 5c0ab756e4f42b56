"""Folds what is known of an instance into its status. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from pubsub.topics import (
    AppNetworkStatus,
    Condition,
    CrashReport,
    DeviceNetworkStatus,
    InstanceType,
    NamespaceStatus,
    NetworkInstanceStatus,
    ProbeStatus,
    ProcessStatus,
    RuleCounters,
    State,
)
from supervisor.names import uplink_mark, uplink_table
from supervisor.plan import InstancePlan, Plan
from supervisor.rule_words import fold_rules
from supervisor.uplinks.selection import Candidate

NO_VLANS = "not on this kernel: its bridges have no VLANs (CONFIG_BRIDGE_VLAN_FILTERING); remove `vlan`"


class View(msgspec.Struct, frozen=True):
    """All that is known of one instance now."""

    name: str
    plan: InstancePlan | None = None  # None: its config was never good, or there is no slot for it
    answered: bool = False  # what its manager says is about what it was told last
    complaints: tuple[str, ...] = ()  # of its config
    netns: bool = False
    pid: int = 0
    restarts: int = 0
    crash_loop: bool = False
    trouble: str = ""  # with its namespace or manager, now
    last_error: str = ""
    host_errors: tuple[str, ...] = ()
    namespace: NamespaceStatus | None = None
    secrets: tuple[str, ...] = ()  # why it doesn't have those of its tunnels
    crashes: tuple[CrashReport, ...] = ()
    lacking: tuple[str, ...] = ()  # why it doesn't have links that are to lead out of it
    obstacles: tuple[str, ...] = ()  # what of others' rules on the host drops its packets


def fold(view: View, before: NetworkInstanceStatus | None, now: float) -> NetworkInstanceStatus:
    """Return the status of one instance; `now` in seconds since the epoch, kept from `before` while the state lasts."""
    conditions = judge(view)
    state, reason = sum_up(view, conditions)
    unchanged = before is not None and before.state == state
    plan, namespace = view.plan, view.namespace
    used = used_uplinks(plan) if plan else ()
    uplink = plan.selection.uplink.ifname if plan and plan.selection.uplink else next(iter(used), "")
    stayed = before is not None and before.uplink == uplink
    errors = [*view.host_errors, *(namespace.errors if namespace else ()), *view.complaints]
    return NetworkInstanceStatus(
        name=view.name,
        type=plan.config.type if plan else InstanceType.LOCAL,
        state=state,
        reason=reason,
        pid=view.pid,
        netns=view.name if view.netns else "",
        subnet=plan.lot.subnet if plan else None,
        subnet6=plan.place.subnet6 if plan else None,
        uplink=uplink,
        uplink_since=(before.uplink_since if before is not None and stayed else now) if uplink else 0.0,
        uplink_reason=(plan.selection.why or plan.selection.reason) if plan else "",
        uplinks=used,
        restarts=view.restarts,
        uid_base=plan.lot.uid_base if plan else 0,
        config=plan.digest if plan else "",
        since=before.since if before is not None and unchanged else now,
        last_error=errors[0] if errors else view.last_error or (before.last_error if before else ""),
        conditions=conditions,
        processes=processes(view),
        portmaps=plan.mapped if plan else (),
        crashes=view.crashes,
    )


def judge(view: View) -> tuple[Condition, ...]:
    """Return the conditions, in the order in which they must come true."""
    namespace = view.namespace
    if namespace is None or not view.answered:
        inside = "its manager has not answered yet"
    else:
        inside = "; ".join((*namespace.errors, *namespace.waiting)) or ("" if namespace.ready else "being configured")
    uplink = view.plan.selection.reason if view.plan else ""
    uplink = "; ".join((*([uplink] if uplink else []), *view.lacking, *without_carrier(view)))
    resolver = "" if view.plan is None else no_resolver(view.plan)
    return (
        condition("ConfigValid", "; ".join(view.complaints)),
        condition("NamespaceStands", "" if view.netns else view.trouble or "being made"),
        condition("ManagerRuns", "" if view.pid else view.trouble or "being started"),
        condition("NamespaceConfigured", inside),
        condition("HostConfigured", "; ".join(view.host_errors)),
        condition("UplinkUsable", uplink),
        condition("ResolverKnown", resolver),
        condition("HostForwards", "; ".join(view.obstacles)),
        *of_tunnels(view),
    )


def of_tunnels(view: View) -> tuple[Condition, ...]:
    """Return the conditions of an instance that has tunnels."""
    config = view.plan.config if view.plan else None
    planned = [one.name for one in config.tunnels] + [one.name for one in config.peers] if config else []
    if not planned:
        return ()
    known = {tunnel.name: tunnel for tunnel in view.namespace.tunnels} if view.namespace and view.answered else {}
    down = [
        f"tunnel {name}: {known[name].reason if name in known else 'being set up'}"
        for name in planned
        if name not in known or not known[name].up
    ]
    return (condition("SecretsReadable", "; ".join(view.secrets)), condition("TunnelsUp", "; ".join(down)))


def used_uplinks(plan: InstancePlan) -> tuple[str, ...]:
    """Return the uplinks that an instance uses now; of a switch the ports that lead out."""
    outer = plan.outer if plan.config_from.switch.shared and plan.config.outer else plan.config.outer
    return tuple(one.ifname for one in plan.selection.shared) or outer


def without_carrier(view: View) -> tuple[str, ...]:
    """Say which ports that lead out of a switch have no carrier, when none has one."""
    outer = view.plan.config.outer if view.plan else ()
    idle = [ifname for ifname in outer if view.namespace and ifname in view.namespace.idle]
    return (f"no carrier: {', '.join(idle)}",) if idle and len(idle) == len(outer) else ()


def no_resolver(plan: InstancePlan) -> str:
    """Say why the instance's DNS knows only its own names; empty when it has whom to ask, or is to know no others."""
    uplink = plan.selection.uplink
    if uplink is None or uplink.resolvers or (plan.config.link and plan.config.link.gateway not in plan.config.servers):
        return ""
    return f"the host names no resolver to reach by {uplink.ifname}; set dns.servers, or `nameserver` in resolv.conf"


def condition(name: str, reason: str) -> Condition:
    """A condition that holds when there is no reason against it."""
    return Condition(name=name, ok=not reason, reason=reason)


def sum_up(view: View, conditions: tuple[Condition, ...]) -> tuple[State, str]:
    """Return the state, and in words why it is not ready. The cases, the worst first."""
    broken = {c.name: c.reason for c in conditions if not c.ok}
    namespace = view.namespace
    # 1. It does not serve, and will not without somebody's help.
    if view.plan is None and (view.complaints or view.trouble):
        return State.FAILED, "; ".join(view.complaints) or view.trouble
    if view.plan is None:
        return State.STARTING, "being planned, or being ended"
    if view.crash_loop:
        return State.FAILED, f"crash loop: {view.last_error}"
    if not view.netns and view.trouble:
        return State.FAILED, view.trouble
    # 2. It is on its way.
    if not broken.keys().isdisjoint({"NamespaceStands", "ManagerRuns"}):
        return State.STARTING, broken.get("NamespaceStands") or broken["ManagerRuns"]
    # 3. It serves in part.
    for name in ("HostConfigured", "SecretsReadable", "ConfigValid"):
        if name in broken:
            return State.DEGRADED, broken[name] + (
                "; the last good config stays in force" if name == "ConfigValid" else ""
            )
    if namespace is not None and view.answered and namespace.errors:
        return State.DEGRADED, "; ".join(namespace.errors)
    if "HostForwards" in broken:
        return State.DEGRADED, broken["HostForwards"]
    # 4. It waits for something outside.
    if "UplinkUsable" in broken:
        return State.WAITING, broken["UplinkUsable"]
    if namespace is None or not view.answered or not namespace.ready:
        waiting = namespace is not None and view.answered and namespace.waiting
        return (State.WAITING if waiting else State.STARTING), broken.get("NamespaceConfigured", "being configured")
    if "TunnelsUp" in broken:
        some = any(tunnel.up for tunnel in namespace.tunnels)
        return (State.DEGRADED if some else State.WAITING), broken["TunnelsUp"]
    return State.READY, ""


def processes(view: View) -> tuple[ProcessStatus, ...]:
    """The manager and its services."""
    manager = (ProcessStatus(name="manager", pid=view.pid),) if view.pid else ()
    services = view.namespace.services if view.namespace and view.pid else ()
    return manager + tuple(ProcessStatus(name=service.name, pid=service.pid) for service in services if service.pid)


def fold_apps(
    name: str,
    plan: InstancePlan,
    namespace: NamespaceStatus | None,
    running: Mapping[str, tuple[str, int]],
    trouble: Mapping[str, str],
    *,
    counted: Sequence[RuleCounters] = (),
) -> dict[str, AppNetworkStatus]:
    """Return the status of each app of one instance, by `instance/app`; `running`: kind and pid by app."""
    leases = {lease.mac: lease.address for lease in namespace.leases} if namespace else {}
    bridged = set(namespace.ports) if namespace else set()
    learned = [(one.ifname, str(one.address)) for one in namespace.learned] if namespace else []
    found = {}
    for app in plan.config.apps:
        kind, pid = running.get(app.name, ("", 0))
        rules, spoofed = fold_rules(plan.config, app, counted)
        found[f"{name}/{app.name}"] = AppNetworkStatus(
            instance=name,
            app=app.name,
            address=app.address or leases.get(str(app.mac)),
            mac=str(app.mac),
            attached=bool(app.ifname) and app.ifname in bridged,
            kind=kind,
            pid=pid,
            reason=trouble.get(app.name, "") or (NO_VLANS if app.vlan and not plan.place.vlans else ""),
            addresses=tuple(address for ifname, address in learned if ifname == app.ifname),
            rules=rules,
            spoofed=spoofed,
        )
    return found


def fold_uplinks(
    plan: Plan,
    probes: Callable[[str], tuple[ProbeStatus, ...]],
    complaints: Callable[[str], list[str]],
    before: Mapping[str, DeviceNetworkStatus],
    now: float,
) -> dict[str, DeviceNetworkStatus]:
    """Return the status of each uplink that is configured, or has an address, or that an instance may use."""
    bound: dict[str, list[str]] = {}
    for name, instance in plan.instances.items():
        for uplink in instance.selection.shared:
            bound.setdefault(uplink.ifname, []).append(name)
    used = {uplink.ifname for uplink in plan.used}
    return {
        ifname: fold_uplink(
            candidate,
            before.get(ifname),
            now,
            probes=probes(ifname),
            problems=complaints(ifname),
            used=ifname in used,
            bound=bound.get(ifname, []),
        )
        for ifname, candidate in plan.candidates.items()
        if candidate.configured or candidate.uplink.addresses or candidate.uplink.addresses6 or ifname in used
    }


def fold_uplink(
    candidate: Candidate,
    before: DeviceNetworkStatus | None,
    now: float,
    *,
    probes: tuple[ProbeStatus, ...],
    problems: Sequence[str],
    used: bool,
    bound: Sequence[str],
) -> DeviceNetworkStatus:
    """Return the status of one uplink; `used`: an instance may use it, so that it has a mark and a table."""
    uplink, healthy = candidate.uplink, not candidate.trouble
    unchanged = before is not None and before.healthy == healthy
    return DeviceNetworkStatus(
        ifname=uplink.ifname,
        up=uplink.up,
        addresses=uplink.addresses,
        addresses6=uplink.addresses6,
        gateways=uplink.gateways,
        gateways6=uplink.gateways6,
        resolvers=uplink.resolvers,
        mtu=uplink.mtu,
        cost=candidate.cost,
        labels=candidate.labels,
        healthy=healthy,
        since=before.since if before is not None and unchanged else now,
        latency=next((probe.latency for probe in probes if probe.latency), 0.0),
        probes=probes,
        mark=uplink_mark(uplink.ifindex) if used else 0,
        table=uplink_table(uplink.ifindex) if used else 0,
        instances=tuple(bound),
        reason=candidate.trouble,
        problems=tuple(problems),
    )
