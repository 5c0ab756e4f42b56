"""The parent: wants what the configs say, knows what the host is like, and brings the two together, again and again.

One task per instance keeps its namespace and manager (instance.py), so that one's trouble stays its own. The host is
one more namespace, reconciled as a manager reconciles its own. All that happens only wakes these loops; what to do
follows from what is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Mapping

import pubsub
from nsmanager.namespace import Namespace
from pubsub.attempt import attempt
from pubsub.topics import AppNetworkStatus, InstanceType, NamespaceConfig, NamespaceStatus, NetworkInstanceConfig
from supervisor.apps import Apps, own_order
from supervisor.attaching import Attachments
from supervisor.child import reap_orphans
from supervisor.configs import Configs
from supervisor.conntrack import unbound
from supervisor.containment import Containment
from supervisor.endurance import endure, spared
from supervisor.evidence import Death, Evidence
from supervisor.host import HostSide
from supervisor.instance import Instance, Paths
from supervisor.ledger import Ledger
from supervisor.logs import trim_logs
from supervisor.metrics import Metrics
from supervisor.obstructions import Obstructions
from supervisor.plan import InstancePlan, Lot, Plan, Wanted
from supervisor.publications import Publications
from supervisor.records import Records
from supervisor.reports import is_own
from supervisor.status import View, fold, fold_apps, fold_uplinks
from supervisor.sysctls import changed_unheard
from supervisor.zygote import Zygote

log = logging.getLogger(__name__)

TICK = 1.0  # seconds between two looks at heartbeats
FULL_PASS = 60.0  # seconds: the net below the kernel's events
STATUS_PAUSE = 0.03  # seconds between two rounds of statuses: 256 managers that start report in batches
LONGEST_PAUSE = 1.0  # seconds between two passes over the host
RETRY = 1.0  # seconds until what failed on the host is tried again


class Supervisor:
    """All that the parent knows, and its loops; `run` runs them."""

    def __init__(
        self,
        paths: Paths,
        publications: Publications,
        configs: Configs,
        ns: Namespace,
        zygote: Zygote,
        *,
        containment: Containment,
    ) -> None:
        self.paths = paths
        self.ns = ns
        self.host = HostSide(paths.run, ns, publications.instances, paths.config)
        self.configs = configs
        self.ledger = Ledger(paths.state)
        self.records = Records(paths.run)
        self.containment = containment
        self.apps = Apps(ns, self.records, zygote, self.wake)
        self.attachments = Attachments(ns, self.apps, self.records)
        self.evidence = Evidence(paths.state, paths.log, self._look_inside)
        self.instances: dict[str, Instance] = {}
        self.refused: dict[str, str] = {}  # instances that got no lot, and why
        self.trouble = ""  # why the last pass over the host failed
        self.ready = asyncio.Event()  # the first pass is done
        self.going_down = False
        self._publications = publications
        self._zygote = zygote
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[str] = set()
        self.metrics = Metrics(self.changed)
        self.obstructions = Obstructions(ns, self.changed)
        self._heard: dict[str, NamespaceStatus] = {}
        self._answered: dict[str, tuple[str, NamespaceConfig]] = {}  # digest and core of the config answered last
        self._silent: set[str] = set()  # instances whose manager is gone: what it said last is no word on what is
        self._lots: dict[str, Lot] = {}
        self._plan_due = asyncio.Event()
        self._status_due = asyncio.Event()
        self._empty = asyncio.Event()  # nothing of ours is left on the host
        self._group = asyncio.TaskGroup()

    def wake(self) -> None:
        """Have the host planned and reconciled again."""
        self._plan_due.set()

    def changed(self) -> None:
        """Have the statuses told again."""
        self._status_due.set()

    @property
    def plan(self) -> Plan:
        """What the host and all instances are to be like."""
        return self.host.plan

    @property
    def wanted(self) -> Wanted:
        """What the configuration says now."""
        return Wanted({} if self.going_down else self.configs.wanted, self.configs.uplinks, self.configs.settings)

    async def run(self) -> None:
        """Keep everything as wanted. Runs until cancelled; managers, services and networks live on then."""
        for name, record in self.records.entries.items():
            self.ledger.keep(name, record.slot)
        async with self._group as group:
            # What ran before us and is wanted no more must be known to be ended.
            for name, record in self.records.entries.items():
                self.instances[name] = self._instance(name, record.slot)
                self._lives[name] = group.create_task(self.instances[name].live(), name=f"instance {name}")
            group.create_task(endure("the kernel's events", self.follow_kernel))
            group.create_task(endure("probes", self.host.prober.run))
            group.create_task(endure("what probes find", self.follow_probes))
            group.create_task(endure("apps", self.apps.run))
            group.create_task(endure("the rules of others", self.obstructions.run))
            group.create_task(endure("host", self.keep_converged))
            group.create_task(endure("statuses", self.keep_told))
            group.create_task(endure("looking after all", self.tick))

    async def down(self) -> None:
        """End everything; returns when nothing of ours is left on the host."""
        self.going_down = True
        self.wake()
        await self._empty.wait()

    # --- what happens outside, told to the loops -------------------------------------------------------------------

    async def follow_managers(self, bus: pubsub.Bus) -> None:
        """Keep what the managers say of their namespaces."""
        async for change in bus.subscribe(NamespaceStatus, agent="nsmanager", scope="*"):
            if not is_own(change):
                continue
            match change:
                case pubsub.Created(key=name, value=status) | pubsub.Modified(key=name, value=status):
                    self._heard[name] = status
                    if name in self.instances:
                        self.instances[name].hear(status)
                    if self.missing_ports(name):
                        self.wake()
                case pubsub.Deleted(key=name):
                    self._heard.pop(name, None)
                case pubsub.Stale():
                    self._silent.add(change.scope)
                case pubsub.Restarted():
                    self._silent.discard(change.scope)
            self.changed()

    async def follow_kernel(self) -> None:
        """Wake on each change in the host's namespace, and once in a while without one."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FULL_PASS):
                    await self.ns.changed()
            await self.steer()
            self.wake()

    async def follow_probes(self) -> None:
        """Act on what the probes find."""
        while True:
            await self.host.probed.wait()
            self.host.probed.clear()
            await self.steer()
            self.wake()

    async def tick(self) -> None:
        """Look after what no event tells of, each second: hung managers, orphans, most sysctls, full logs."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            if now - last < 2 * TICK:  # else we ourselves stood still, and the heartbeats tell nothing
                self.look_after_managers(now)
            last = now
            reap_orphans({i.manager.pid for i in self.instances.values() if i.manager} | self.apps.pids())
            with spared("logs"):
                trim_logs(self.paths.run / "logs")
            with spared("what no event tells of"):
                unheard = changed_unheard(self.ns, self.plan.items) or self.attachments.changed_unheard()
                if unheard or self.host.secrets.changed():
                    self.wake()

    def look_after_managers(self, now: float) -> None:
        """Kill the most silent manager when it hangs; look after the rest of all."""
        # One at a time: when many are late the machine is, and killing them all would make it worse.
        most_silent = max(self.instances.values(), key=lambda one: one.silence(now), default=None)
        if most_silent is not None:
            most_silent.check_heartbeat(now)
        for instance in self.instances.values():
            with spared(f"instance {instance.name}"):
                instance.look_after(now)

    # --- the host ----------------------------------------------------------------------------------------------------

    async def keep_converged(self) -> None:
        """Plan and reconcile whenever something changed; nothing before the whole config is known."""
        while True:
            await self._plan_due.wait()
            self._plan_due.clear()
            if self.configs.complete or self.going_down:
                began = time.monotonic()
                passed = False
                with spared("host"):  # what stands goes on, and the next pass may succeed
                    await attempt(self.converge())
                    passed = True
                self.trouble = "" if passed else "the last pass over the host failed; see the log of nsvisord"
                self.ready.set()
                self.changed()
                if self.host.report.errors or self.trouble or self.ledger.trouble:
                    asyncio.get_running_loop().call_later(RETRY, self.wake)
                # In a storm of events most of the time is left to those who make the storm: managers being born.
                await asyncio.sleep(min(3 * (time.monotonic() - began), LONGEST_PAUSE))

    async def converge(self) -> None:
        """One pass: lots, facts, plan; tell the managers; begin and end lives; reconcile the host."""
        async with self.host.lock:
            wanted = self.wanted
            staying = {name: config for name, config in wanted.instances.items() if name not in self._leaving}
            self._lots, self.refused = self.allot(self.ledger, staying)
            stands = [name for name, instance in self.instances.items() if instance.inode and name not in self._leaving]
            before = self.plan
            await self.host.plan_anew(wanted, self._lots, stands, self.apps.ports(), self.apps.lent())
        self.host.hand_out_secrets()
        await self._publications.tell(self.plan.instances)
        limits = {name: config.limits for name, config in staying.items()}
        for name in self.containment.hold(limits, self.instances.keys()) & self.instances.keys():
            self.instances[name].limit()
        self.begin_and_end(wanted.instances.keys())
        originals = self.host.sysctls.originals
        await self.attachments.carry_out(wanted.instances, self.plan, stands, self.missing_ports, originals)
        await self.host.reconcile()
        for name in self.instances.keys() & stands:
            self.instances[name].linked.set()
        self.obstructions.look_soon(self.plan)
        await self.host.forget(unbound(before, self.plan))
        self._publications.tell_outlooks(self.plan.instances)
        if self.going_down and not self.instances and not self.host.report.errors:
            self._empty.set()

    async def steer(self) -> None:
        """Bind instances to other uplinks at once when an uplink changed; all else is left to the next pass."""
        try:
            moved = await self.host.steer(self.wanted, self._lots)
        except Exception:  # whatever it is: the pass that follows does the same, only later
            log.exception("host: a defect; instances can't be moved at once")
        else:
            if moved:
                self.changed()

    def begin_and_end(self, wanted: Collection[str]) -> None:
        """Begin the lives of new instances, and end those of instances that nobody wants any more."""
        for name in self.instances.keys() - wanted - self._leaving:
            self._leaving.add(name)
            self._group.create_task(self.end(name))
        for name, instance in self.plan.instances.items():
            if name not in self.instances:
                self._silent.discard(name)  # what an earlier instance of that name left
                self.instances[name] = self._instance(name, instance.lot.slot)
                self._lives[name] = self._group.create_task(self.instances[name].live(), name=f"instance {name}")

    def allot(
        self, ledger: Ledger, configs: Mapping[str, NetworkInstanceConfig]
    ) -> tuple[dict[str, Lot], dict[str, str]]:
        """Return the lots of the instances, drawn now for the new ones, and who got none, with the reason."""
        settings = self.configs.settings
        refused = ledger.admit(sorted(configs), settings.link_pool.num_addresses // 2)
        taken = [config.subnet for config in configs.values() if config.subnet]
        routed = [name for name, config in configs.items() if config.type is not InstanceType.SWITCH]
        wanting = [name for name in routed if not configs[name].subnet and name not in refused]
        subnets, without = ledger.subnets(wanting, settings.subnet_pool, taken)
        refused |= without
        lots = {
            name: Lot(ledger.entries[name].slot, config.subnet or subnets.get(name))
            for name, config in configs.items()
            if name not in refused
        }
        return lots, refused

    def _instance(self, name: str, slot: int) -> Instance:
        return Instance(
            name,
            slot,
            self.paths,
            self.records,
            self._zygote,
            containment=self.containment,
            stands=self.wake,
            changed=self.changed,
            died=lambda death: self._preserve(name, death),
        )

    def _preserve(self, name: str, death: Death) -> None:
        """Have a report written of a manager that died unasked."""
        planned = self.plan.instances.get(name)
        self._group.create_task(self.evidence.preserve(name, death, planned.config if planned else None))

    async def _look_inside(self, name: str, script: str, output: int) -> str:
        return await self.apps.ask(own_order(name, ("sh", "-c", script)), output)

    async def end(self, name: str) -> None:
        """End an instance: its life here, its apps, processes, namespace and files, its tables; in this order."""
        life = self._lives.pop(name)
        life.cancel()
        await asyncio.wait([life])
        await endure(f"instance {name}: its end", lambda: self._end(name))
        self._leaving.discard(name)
        self.wake()

    async def _end(self, name: str) -> None:
        """Do what can be done again where it failed."""
        await self.attachments.give_all_back(name)
        self.apps.end_all(name)
        await self.instances[name].destroy(keep_files=self.going_down)
        if not self.going_down:
            self.ledger.forget(name)
            self.evidence.forget(name)
        try:
            await self._publications.forget(name)
        except pubsub.BusError as exc:
            log.warning("instance %s: its tables stay on the bus: %s", name, exc)
        self._heard.pop(name, None)
        self._answered.pop(name, None)
        del self.instances[name]

    # --- what everybody reads ----------------------------------------------------------------------------------------

    async def keep_told(self) -> None:
        """Publish the statuses whenever something changed."""
        tables = self._publications
        await self.ready.wait()  # what was told by a supervisor before us stands until we know better
        while True:
            await self._status_due.wait()
            self._status_due.clear()
            now = time.time()
            names = self.instances.keys() | self.configs.wanted.keys() | self.configs.complained
            folded = {}
            for name in sorted(names):
                await self.ns.give_way()
                before = tables.instances.get(name)
                with spared(f"instance {name}: its status"):
                    folded[name] = fold(self.view(name), before, now)
                if name not in folded and before is not None:
                    folded[name] = before
            tables.instances.replace(folded)
            apps = [self.apps_of(name, instance) for name, instance in self.plan.instances.items()]
            tables.apps.replace({key: status for of_one in apps for key, status in of_one.items()})
            tables.uplinks.replace(
                fold_uplinks(self.plan, self.host.prober.statuses, self.configs.uplink_complaints, tables.uplinks, now)
            )
            await asyncio.sleep(max(STATUS_PAUSE, time.time() - now))  # at most half of the time

    def view(self, name: str) -> View:
        """Return all that is known of one instance now."""
        instance = self.instances.get(name)
        refused = (self.refused[name],) if name in self.refused else ()
        planned = self.plan.instances.get(name)
        heard = None if name in self._silent else self._heard.get(name)
        view = View(
            name=name,
            plan=planned,
            answered=bool(planned and heard and self.is_answered(name, planned, heard.config)),
            complaints=(*self.configs.complaints(name), *refused),
            host_errors=(*self.host.errors_of(name), *filter(None, [self.trouble]), *(planned.lost if planned else ())),
            namespace=heard,
            secrets=self.host.secrets.troubles(name),
            lacking=tuple(self.attachments.lacking.get(name, {}).values()),
            obstacles=self.obstructions.found.get(name, ()),
            crashes=self.evidence.of(name),
        )
        return view if instance is None else instance.complete(view)

    def missing_ports(self, name: str) -> set[str]:
        """Return the ports that an instance's manager was told of and doesn't find."""
        planned, heard = self.plan.instances.get(name), self._heard.get(name)
        if planned is None or heard is None or name in self._silent or heard.config != planned.resolved.digest:
            return set()
        return {*planned.config.outer, *(app.ifname for app in planned.config.apps if app.ifname)} - {*heard.ports}

    def is_answered(self, name: str, planned: InstancePlan, answer: str) -> bool:
        """Tell whether a manager's status is about what it was told last, but for apps that come and go by `run`."""
        if answer == planned.resolved.digest:
            self._answered[name] = (answer, planned.core)
        return self._answered.get(name) == (answer, planned.core)

    def apps_of(self, name: str, instance: InstancePlan) -> dict[str, AppNetworkStatus]:
        """Return the status of each app of one instance."""
        running = {app: (known.kind, known.pid) for app, known in self.apps.running(name).items()}
        trouble = {app: why for (owner, app), why in self.attachments.trouble.items() if owner == name}
        return fold_apps(
            name, instance, self._heard.get(name), running, trouble, counted=self.metrics.rules.get(name, ())
        )
