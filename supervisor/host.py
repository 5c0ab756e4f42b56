"""The host's side of all instances: what it is like, what it is to be like, and who is bound to which uplink now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from nsmanager.items.nftables import NftTable
from nsmanager.items.route import Route
from nsmanager.namespace import Namespace, NftError
from nsmanager.reconcile import Report, adjust, reconcile
from pubsub.topics import NetworkInstanceStatus
from supervisor.conntrack import Stuck, forget_flows, unbound
from supervisor.facts import Facts, Uplink
from supervisor.items import HOST_KINDS
from supervisor.kernel import BRIDGE_FILTER, has_bridge_vlans, load_bridge_filter, needs_bridge_filter
from supervisor.observe import gather, refresh
from supervisor.plan import Lot, Plan, Wanted, plan
from supervisor.probing import Prober, Target
from supervisor.secrets import Secrets
from supervisor.sysctls import BorrowedSysctls
from supervisor.uplinks.selection import NO_CONFIG

log = logging.getLogger(__name__)

Ports = dict[str, dict[str, str]]  # instance -> app -> ifname of its port
Lent = dict[str, tuple[str, ...]]  # instance -> ifnames of the host's links that it has
ALL_BUT_TABLE = tuple(kind for kind in HOST_KINDS if kind is not NftTable)


class HostSide:
    """Facts, plan and reconciliation of the namespace in which the uplinks are. `lock` is held by who changes it."""

    def __init__(
        self, run_dir: Path, ns: Namespace, before: Mapping[str, NetworkInstanceStatus],
        config_dir: Path = Path("/etc/nsvisor"),
    ) -> None:  # fmt: skip
        self.lock = asyncio.Lock()
        self.probed = asyncio.Event()  # a probe found an uplink to be other than before
        self.prober = Prober(run_dir, self.probed.set)
        self.sysctls = BorrowedSysctls(run_dir)
        self.secrets = Secrets(run_dir, config_dir / "secrets")
        self.facts = Facts()
        self.plan = Plan()
        self.report = Report()
        # By instance, the ifname of its uplink; first as the supervisor before us published it.
        self.present = {name: status.uplink for name, status in before.items() if status.uplink}
        self._ns = ns

    async def look(self, stands: Collection[str], ports: Ports, lent: Lent) -> Facts:
        """Return what the host is like now; `stands`: the instances whose namespaces do, `ports`: the apps' ports."""
        return await gather(
            self._ns,
            self.sysctls.originals,
            namespaces=stands,
            ports=ports,
            lent=lent,
            health=self.prober.health(),
            present=self.present,
        )

    async def plan_anew(
        self, wanted: Wanted, lots: Mapping[str, Lot], stands: Collection[str], ports: Ports, lent: Lent
    ) -> None:
        """Look at everything, and plan everything.

        What became of an uplink in use is acted upon at once, as `steer` does: the rest takes a while to be made.
        """
        self.sysctls.follow(self._ns)
        facts = await self.look(stands, ports, lent)
        await self._act_on(facts.uplinks, wanted, lots)
        self.facts = msgspec.structs.replace(facts, health=self.prober.health(), present=self.present)
        if not BRIDGE_FILTER.exists() and any(map(needs_bridge_filter, wanted.instances.values())):
            load_bridge_filter()
        if any(app.vlan for config in wanted.instances.values() for app in config.apps.values()):
            self.facts = msgspec.structs.replace(self.facts, vlans=has_bridge_vlans())
        self.facts = msgspec.structs.replace(self.facts, secrets=self.secrets.look(wanted.instances.values()))
        new = plan(wanted, self.facts, lots, self.plan)
        self._probe(new, wanted)
        if self.prober.health() != self.facts.health:  # what was found before a restart, of uplinks not followed yet
            self.facts = msgspec.structs.replace(self.facts, health=self.prober.health())
            new = plan(wanted, self.facts, lots, new)
        self._settle(new)

    async def steer(self, wanted: Wanted, lots: Mapping[str, Lot]) -> bool:
        """Bind instances to other uplinks at once when an uplink changed: one transaction, before any other work.

        Returns whether one changed; then a pass over the rest should follow.
        """
        async with self.lock:
            return await self._act_on(refresh(self._ns, self.plan.used, self.sysctls.originals), wanted, lots)

    async def _act_on(self, found: Mapping[str, Uplink], wanted: Wanted, lots: Mapping[str, Lot]) -> bool:
        """Act on what is found of the uplinks in use, when it isn't as before."""
        known = {uplink.ifname for uplink in self.plan.used}
        before = {ifname: uplink for ifname, uplink in self.facts.uplinks.items() if ifname in known}
        others = {ifname: uplink for ifname, uplink in self.facts.uplinks.items() if ifname not in known}
        uplinks = {ifname: uplink for ifname, uplink in found.items() if ifname in known}
        health = self.prober.health()
        if self.plan.table is None or (uplinks == before and health == self.facts.health):
            return False
        self.facts = msgspec.structs.replace(self.facts, uplinks=others | uplinks, health=health, present=self.present)
        old, new = self.plan, plan(wanted, self.facts, lots, self.plan)
        if usable(uplinks) - usable(before):
            await self._make_routes(old, new)  # the way is there before somebody is sent on it
        if new.table is not None and new.table != old.table:
            await self._bind(new.table)
        if usable(before) - usable(uplinks):
            await self._make_routes(new)  # who has no other way is told so, and not left without a word
        self._probe(new, wanted)
        self._settle(new)
        await self.forget(unbound(old, new))
        return True

    async def _bind(self, table: NftTable) -> None:
        """Load our table where one stands; where none does the next pass makes it, in its order."""
        for old in await NftTable.observe(self._ns, [table]):
            try:
                await table.replace(self._ns, old)
            except NftError as exc:
                log.warning("host: instances can't be moved at once: %s", exc)

    async def _make_routes(self, *plans: Plan) -> None:
        """Make the routes of the plans at once, and no others; of the same in several the last one's."""
        routes = {item.key: item for one in plans for item in one.items if type(item) is Route}
        _tell(await adjust(self._ns, tuple(routes.values()), (Route,)))

    def _probe(self, new: Plan, wanted: Wanted) -> None:
        """Probe the uplinks that may be used."""
        self.prober.follow({up.ifname: Target(up, wanted.uplinks.get(up.ifname, NO_CONFIG)) for up in new.used})

    def _settle(self, new: Plan) -> None:
        """Take over a plan: remember who uses which uplink, and tell what moved."""
        self.plan = new
        for name, instance in new.instances.items():
            was, selection = self.present.get(name, ""), instance.selection
            ifname = selection.uplink.ifname if selection.uplink else ""
            if was and ifname != was and instance.place.linked:
                log.info("instance %s: moved from %s to %s: %s", name, was, ifname or "none", selection.why)
        self.present = {name: i.selection.uplink.ifname for name, i in new.instances.items() if i.selection.uplink}

    async def forget(self, stuck: Stuck) -> None:
        """End connections that lead where nothing is any more."""
        if stuck:
            try:
                await asyncio.to_thread(forget_flows, stuck)
            except OSError as exc:
                log.warning("host: tracked connections of moved instances may stick to their old way: %s", exc)

    def hand_out_secrets(self) -> None:
        """Give each planned instance its secrets, before its manager is told of them."""
        instances = self.plan.instances.items()
        configs = {name: instance.config_from for name, instance in instances}
        self.secrets.hand_out(configs, {name: instance.lot.uid_base for name, instance in instances})

    async def reconcile(self) -> None:
        """Make the host as planned, and log each change as the command that was done.

        The table comes last, and as it is planned by then: meanwhile instances may have been bound to other uplinks.
        """
        planned, before = self.plan, self.report
        # What isn't written down can't be given back, so it isn't set: the rest doesn't wait for that.
        unnoted = self.sysctls.note(self._ns, planned.borrowed)
        given = self.sysctls.follow(self._ns)  # since the plan was made: the next pass plans with it
        left = {item.key for item, _ in unnoted} | {item.key for item in planned.borrowed if item.name in given}
        items = [item for item in planned.items if type(item) is not NftTable and item.key not in left]
        rest = await reconcile(self._ns, items, ALL_BUT_TABLE)
        async with self.lock:
            table = await adjust(self._ns, [self.plan.table] if self.plan.table else [], (NftTable,))
        self.sysctls.restore(self._ns, planned.borrowed)
        errors = tuple((item.key, text) for item, text in unnoted)
        self.report = Report(rest.done + table.done, rest.errors + table.errors + errors)
        _tell(self.report)
        for _, text in set(self.report.errors) - set(before.errors):
            log.error("host: %s", text)

    def errors_of(self, name: str) -> tuple[str, ...]:
        """Return what failed on the host for one instance: on its own link, or for all."""
        if not self.report.errors:
            return ()
        others = {item.key for owner, links in self.plan.links.items() if owner != name for item in links}
        return tuple(text for key, text in self.report.errors if key not in others)


def usable(uplinks: Mapping[str, Uplink]) -> set[str]:
    """Return the ifnames of those by which a packet could leave now."""
    return {ifname for ifname, uplink in uplinks.items() if not uplink.trouble}


def _tell(report: Report) -> None:
    """Log each change as the command that was done."""
    for change in report.done:
        log.info("host: %s", str(change).partition("\n")[0])
