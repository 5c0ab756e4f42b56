"""What is to be attached to which instance, carried out in every pass: what isn't there yet is waited for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from nsmanager.namespace import Namespace
from pubsub.topics import Attachment, NetworkInstanceConfig
from supervisor.apps import Apps
from supervisor.attaching.frames import Frames
from supervisor.attaching.lending import Lending
from supervisor.attaching.taps import Taps
from supervisor.attaching.veths import Veths, look
from supervisor.plan import InstancePlan, Plan
from supervisor.records import AppRecord, Records
from supervisor.spawn import SpawnerGone, SpawnError

log = logging.getLogger(__name__)

LINKED = ("container", "netns")  # kinds that get a veth


class Attachments:
    """Carries out the `attach` of all apps, and what `switch` instances want of the host."""

    def __init__(self, ns: Namespace, apps: Apps, records: Records) -> None:
        self._apps = apps
        self.lending = Lending(ns, records, apps)
        self._frames = Frames(ns, records)
        self._taps = Taps(ns, apps)
        self._veths = Veths(apps)
        self.trouble: dict[tuple[str, str], str] = {}  # (instance, app) -> why it is not attached
        self.lacking: dict[str, dict[str, str]] = {}  # instance -> ifname of an uplink of its own -> why it has it not
        self._seen: dict[str, int] = {}  # path of each namespace that is wanted -> inode, as last looked

    async def carry_out(
        self,
        configs: Mapping[str, NetworkInstanceConfig],
        plan: Plan,
        stands: list[str],
        missing: Callable[[str], Collection[str]],
        originals: Mapping[str, str],
    ) -> None:
        """Attach what is wanted and there, detach what is wanted no more.

        `missing` says which planned ports of an instance its manager doesn't find; `originals` as in `Lending`.
        """
        self.trouble, self.lacking = {}, {}
        seen: dict[str, int] = {}
        for name in stands:
            if name in plan.instances and name in configs:
                wanted = {app: config.attach for app, config in configs[name].apps.items() if config.attach}
                seen |= {path: look(path) for attach in wanted.values() if (path := netns_of(attach))}
                try:
                    await self._carry_out(name, plan.instances[name], wanted, missing(name), originals)
                except Exception as exc:  # whatever it is, it is this instance's trouble
                    log.exception("instance %s: a defect", name)
                    self.lacking[name] = {"": f"a defect of nsvisord: {exc}"}
        self._seen = seen

    async def _carry_out(
        self,
        name: str,
        plan: InstancePlan,
        wanted: Mapping[str, Attachment],
        gone: Collection[str],
        originals: Mapping[str, str],
    ) -> None:
        """Attach and detach for one instance; first all that is let go, for another app may want it."""
        for app, known in self._apps.running(name).items():
            await self._try(name, app, self._let_go(name, app, known, wanted.get(app), gone))
        await self._lend(name, plan, wanted, gone, originals)
        for app, attach in wanted.items():
            if attach.link is None:
                await self._try(name, app, self._take(name, app, attach, plan))

    async def _try(self, name: str, app: str, step: Awaitable[str]) -> None:
        """Do one step, and note why it can't be done."""
        try:
            reason = await step
        except (OSError, SpawnerGone, SpawnError) as exc:
            reason = f"can't be attached or detached: {exc}"
        if reason:
            self.trouble[name, app] = reason

    async def _let_go(
        self, name: str, app: str, known: AppRecord, attach: Attachment | None, gone: Collection[str]
    ) -> str:
        if known.kind == "tap":
            if attach is None or attach.tap != known.port:
                await self._taps.give_back(name, app, known)
            elif known.port in gone and not await self._apps.is_inside(name, known.port):
                self._apps.forget(name, app)
        elif known.kind == "link" and (attach is None or attach.link != known.port):
            self._apps.forget(name, app)  # the link itself goes by the instance's list of links
        elif known.kind in LINKED:
            stays = attach is not None and netns_of(attach) == known.netns and look(known.netns) == known.inode
            lost = known.port in gone and not await self._apps.is_inside(name, known.port)
            if known.begun or lost or not stays or (attach and attach.ifname != known.ifname):
                await self._veths.leave(name, app, known)
        return ""

    async def _take(self, name: str, app: str, attach: Attachment, plan: InstancePlan) -> str:
        if attach.tap is not None:
            return await self._taps.take(name, app, attach.tap)
        return await self._veths.join(name, app, attach, netns_of(attach), plan)

    async def _lend(
        self,
        name: str,
        plan: InstancePlan,
        wanted: Mapping[str, Attachment],
        gone: Collection[str],
        originals: Mapping[str, str],
    ) -> None:
        """Lend the links that apps or the instance itself want, and take the others back."""
        by_app = {attach.link: app for app, attach in wanted.items() if attach.link is not None}
        try:
            reasons = await self.lending.carry_out(name, (*by_app, *plan.lends), gone, originals)
        except (OSError, SpawnerGone, SpawnError) as exc:
            reasons = {ifname: str(exc) for ifname in (*by_app, *plan.lends)}
        self.lacking[name] = {ifname: reasons[ifname] for ifname in plan.lends if ifname in reasons}
        if plan.config_from.switch.shared:
            self._share(name, plan)
        else:
            self._frames.carry_out(name, "", ())
        lent = self.lending.lent(name)
        for ifname, app in by_app.items():
            known = self._apps.running(name).get(app)
            if ifname in reasons:
                self.trouble[name, app] = reasons[ifname]
            if ifname not in lent and known is not None and known.kind == "link":
                self._apps.forget(name, app)
            elif ifname in lent and known is None:
                self._apps.remember(name, app, AppRecord("link", None, ifname), None)

    def _share(self, name: str, plan: InstancePlan) -> None:
        """Have the host's uplink take frames for the apps of a switch that shares it."""
        for ifname in plan.outer:
            if not plan.config.outer:
                self.lacking[name][ifname] = f"waiting for link {ifname} on the host"
            elif failure := self._frames.carry_out(name, ifname, {str(app.mac) for app in plan.config.apps}):
                self.lacking[name][ifname] = failure

    def changed_unheard(self) -> bool:
        """Tell whether a namespace came or went that an app wants: no event tells of it."""
        return any(look(path) != inode for path, inode in self._seen.items())

    async def give_all_back(self, name: str) -> None:
        """Move all taps and links of an instance to the host again, before its end. Raises OSError, SpawnerGone."""
        for app, known in self._apps.running(name).items():
            if known.kind == "tap":
                await self._taps.give_back(name, app, known)
            elif known.kind in LINKED:
                await self._veths.leave(name, app, known)
        self._frames.carry_out(name, "", ())
        await self.lending.give_all_back(name)


def netns_of(attach: Attachment) -> str:
    """Return the path of the namespace that an app lives in; empty: it has none of its own."""
    if attach.container is not None:
        return f"/proc/{attach.container}/ns/net"
    return f"/run/netns/{attach.netns}" if attach.netns is not None else ""
