"""Folds what is known of an instance into its status. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from pubsub.topics import (
    AppNetworkStatus,
    Condition,
    DeviceNetworkStatus,
    InstanceType,
    NamespaceStatus,
    NetworkInstanceStatus,
    ProcessStatus,
    State,
)
from supervisor.facts import Uplink
from supervisor.names import uplink_mark, uplink_table
from supervisor.plan import InstancePlan


@dataclasses.dataclass(frozen=True)
class View:
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


def fold(view: View, before: NetworkInstanceStatus | None, now: float) -> NetworkInstanceStatus:
    """Return the status of one instance; `now` in seconds since the epoch, kept from `before` while the state lasts."""
    conditions = judge(view)
    state, reason = sum_up(view, conditions)
    unchanged = before is not None and before.state == state
    plan, namespace = view.plan, view.namespace
    uplink = plan.selection.uplink if plan else None
    errors = [*view.host_errors, *(namespace.errors if namespace else ()), *view.complaints]
    return NetworkInstanceStatus(
        name=view.name,
        type=plan.config.type if plan else InstanceType.LOCAL,
        state=state,
        reason=reason,
        pid=view.pid,
        netns=view.name if view.netns else "",
        subnet=plan.lot.subnet if plan else None,
        uplink=uplink.ifname if uplink else "",
        restarts=view.restarts,
        uid_base=plan.lot.uid_base if plan else 0,
        config=plan.digest if plan else "",
        since=before.since if before is not None and unchanged else now,
        last_error=errors[0] if errors else view.last_error or (before.last_error if before else ""),
        conditions=conditions,
        processes=processes(view),
        portmaps=plan.portmaps if plan else (),
    )


def judge(view: View) -> tuple[Condition, ...]:
    """Return the conditions, in the order in which they must come true."""
    namespace = view.namespace
    if namespace is None or not view.answered:
        inside = "its manager has not answered yet"
    else:
        inside = "; ".join((*namespace.errors, *namespace.waiting)) or ("" if namespace.ready else "being configured")
    uplink = view.plan.selection.reason if view.plan else ""
    resolver = "" if view.plan is None else no_resolver(view.plan)
    return (
        condition("ConfigValid", "; ".join(view.complaints)),
        condition("NamespaceStands", "" if view.netns else view.trouble or "being made"),
        condition("ManagerRuns", "" if view.pid else view.trouble or "being started"),
        condition("NamespaceConfigured", inside),
        condition("HostConfigured", "; ".join(view.host_errors)),
        condition("UplinkUsable", uplink),
        condition("ResolverKnown", resolver),
    )


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
    for name in ("HostConfigured", "ConfigValid"):
        if name in broken:
            return State.DEGRADED, broken[name] + (
                "; the last good config stays in force" if name == "ConfigValid" else ""
            )
    if namespace is not None and view.answered and namespace.errors:
        return State.DEGRADED, "; ".join(namespace.errors)
    # 4. It waits for something outside.
    if "UplinkUsable" in broken:
        return State.WAITING, broken["UplinkUsable"]
    if namespace is None or not view.answered or not namespace.ready:
        waiting = namespace is not None and view.answered and namespace.waiting
        return (State.WAITING if waiting else State.STARTING), broken.get("NamespaceConfigured", "being configured")
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
) -> dict[str, AppNetworkStatus]:
    """Return the status of each app of one instance, by `instance/app`; `running`: kind and pid by app."""
    leases = {lease.mac: lease.address for lease in namespace.leases} if namespace else {}
    bridged = set(namespace.ports) if namespace else set()
    found = {}
    for app in plan.config.apps:
        kind, pid = running.get(app.name, ("", 0))
        found[f"{name}/{app.name}"] = AppNetworkStatus(
            instance=name,
            app=app.name,
            address=app.address or leases.get(str(app.mac)),
            mac=str(app.mac),
            attached=bool(app.ifname) and app.ifname in bridged,
            kind=kind,
            pid=pid,
            reason=trouble.get(app.name, ""),
        )
    return found


def fold_uplinks(plans: dict[str, InstancePlan], uplinks: dict[str, Uplink]) -> dict[str, DeviceNetworkStatus]:
    """Return the status of each uplink that has an address or that an instance is bound to."""
    bound: dict[str, list[str]] = {}
    for name, plan in plans.items():
        if plan.selection.uplink is not None:
            bound.setdefault(plan.selection.uplink.ifname, []).append(name)
    return {
        uplink.ifname: DeviceNetworkStatus(
            ifname=uplink.ifname,
            up=uplink.up,
            addresses=uplink.addresses,
            gateways=uplink.gateways,
            resolvers=uplink.resolvers,
            mtu=uplink.mtu,
            mark=uplink_mark(uplink.ifindex) if uplink.ifname in bound else 0,
            table=uplink_table(uplink.ifindex) if uplink.ifname in bound else 0,
            instances=tuple(bound.get(uplink.ifname, ())),
            reason=uplink.trouble,
        )
        for uplink in uplinks.values()
        if uplink.addresses or uplink.ifname in bound
    }
