"""What nsvisord does for those who ask by the control socket."""

from __future__ import annotations

import asyncio
import itertools
import os
import stat
from collections.abc import Mapping
from typing import Any

import msgspec

from nsmanager.place import Place
from nsmanager.plan import plan as plan_namespace
from nsmanager.reconcile import diff, observe
from pubsub import codec
from pubsub.config.rules import APP_NAME_REMEDY, is_app_name
from pubsub.topics import NetworkInstanceConfig, UplinkConfig
from supervisor import __version__
from supervisor.control import ControlError, Request
from supervisor.items import HOST_KINDS
from supervisor.names import app_mac
from supervisor.orders import Exec, RunApp
from supervisor.plan import InstancePlan, Plan, Wanted, plan, planned_app
from supervisor.spawn import SpawnerGone, SpawnError
from supervisor.supervisor import Supervisor

NOT_FOUND = 3  # exit code for the command line: no such thing
SESSION_FDS = 4  # stdin, stdout, stderr, session


class Commands:
    """The commands of one daemon."""

    def __init__(self, supervisor: Supervisor, reload: asyncio.Event, stop: asyncio.Event) -> None:
        self._supervisor = supervisor
        self._reload = reload
        self._stop = stop

    async def handle(self, request: Request) -> dict[str, Any]:
        """Do what is asked. Raises ControlError."""
        match request.do:
            case "ping":
                paths = self._supervisor.paths
                return {
                    "pid": os.getpid(),
                    "version": __version__,
                    "config": str(paths.config),
                    "state": str(paths.state),
                }
            case "reload":
                self._reload.set()
                return {}
            case "restart":
                return self.restart(str(request.body.get("instance")))
            case "down":
                await self._supervisor.down()
                self._stop.set()
                return {}
            case "plan":
                return await self.plan(request.body)
            case "run" | "exec":
                try:
                    return await (self.run(request) if request.do == "run" else self.exec(request))
                except (OSError, SpawnError, SpawnerGone) as exc:
                    raise ControlError(f"{request.do}: {exc}", 1) from exc
        raise ControlError(f"unknown command {request.do!r}; is the command line newer than nsvisord?", 2)

    def restart(self, name: str) -> dict[str, Any]:
        """Have an instance's manager replaced; nobody waits for the new one. Raises ControlError."""
        instance = self._supervisor.instances.get(name)
        if instance is None:
            raise ControlError(f"instance {name!r} does not exist; see `nsvisor get instances`", NOT_FOUND)
        return {"replaced": instance.replace_manager()}

    async def run(self, request: Request) -> dict[str, Any]:
        """Run a command as an app of an instance, for its caller."""
        name, instance = self.instance(request.body)
        apps = self._supervisor.apps
        app = str(request.body.get("name") or "")
        if not app:
            app = next(f"run-{n}" for n in itertools.count(1) if not apps.is_taken(name, f"run-{n}"))
        elif not is_app_name(app):
            raise ControlError(f"run: {app!r} is no name for an app; {APP_NAME_REMEDY}", 2)
        configured = self._supervisor.configs.wanted[name].apps.get(app)
        planned = planned_app(instance, app)
        fixed = configured.address if configured else None
        hold = self._supervisor.containment.apps(name)
        order = RunApp(
            instance=name,
            app=app,
            hostname=app,
            mac=str(planned.mac if planned else app_mac(name, app)),
            address=instance.on_bridge(fixed) if fixed else None,
            gateway=instance.config.router.ip if fixed else None,
            resolv_conf=resolv_conf(instance),
            mtu=instance.config.mtu,
            group=hold.group,
            rlimits=hold.rlimits,
            **self.command(request),
        )
        return {"pid": await apps.start(name, instance, app, order, request.fds), "app": app}

    async def exec(self, request: Request) -> dict[str, Any]:
        """Run a command inside an instance's own namespace, for its caller."""
        name, instance = self.instance(request.body)
        order = Exec(instance=name, resolv_conf=resolv_conf(instance), **self.command(request))
        return {"pid": await self._supervisor.apps.exec(order, request.fds)}

    def command(self, request: Request) -> dict[str, Any]:
        """Return what is common to both: the command, and the caller as the kernel names it."""
        body, caller = request.body, request.caller
        if len(request.fds) != SESSION_FDS or not stat.S_ISSOCK(os.fstat(request.fds[-1]).st_mode):
            raise ControlError("run and exec need stdin, stdout, stderr and a session", 2)
        argv = body.get("argv")
        if not isinstance(argv, list) or not argv:
            raise ControlError("run and exec need a command, and `argv` is no list of words", 2)
        words = tuple(map(str, argv))
        env = {key: str(value) for key, value in mapping(body, "env").items()}
        cwd = str(body.get("cwd", "/"))
        if "\0" in "".join((*words, *env, *env.values(), cwd)):
            raise ControlError("a command, its environment and its folder can't hold a zero byte", 2)
        return {
            "argv": words,
            "env": env,
            "cwd": cwd,
            "uid": caller.uid,
            "gid": caller.gid,
            "groups": caller.groups,
        }

    def instance(self, body: Mapping[str, Any]) -> tuple[str, InstancePlan]:
        """Return the instance that a request names, as it is planned; its namespace stands."""
        name = str(body.get("instance"))
        planned = self._supervisor.plan.instances.get(name)
        if planned is None:
            known = ", ".join(sorted(self._supervisor.plan.instances)) or "none"
            raise ControlError(f"instance {name!r} does not exist; known: {known}", NOT_FOUND)
        if name not in self._supervisor.instances or not self._supervisor.instances[name].inode:
            raise ControlError(f"instance {name} has no namespace yet; see `nsvisor describe instance {name}`", 1)
        return name, planned

    async def plan(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Say what the given instances and uplinks, in place of those of the same name, would change."""
        supervisor = self._supervisor
        given = {
            name: codec.from_plain(NetworkInstanceConfig, value) for name, value in mapping(body, "instances").items()
        }
        uplinks = {name: codec.from_plain(UplinkConfig, value) for name, value in mapping(body, "uplinks").items()}
        configs = msgspec.structs.replace(
            supervisor.wanted,
            instances={**supervisor.configs.wanted, **given},
            uplinks={**supervisor.configs.uplinks, **uplinks},
        )
        new, refused = await self.planned(configs)
        observed = await observe(supervisor.ns, new.items, HOST_KINDS)
        fresh = [name for name in given if name in new.instances and name not in supervisor.instances]
        return {
            "host": [*(f"ip netns add {name}" for name in fresh), *map(str, diff(new.items, observed))],
            "instances": {
                name: self.inside(name, new.instances[name], supervisor.plan.instances.get(name))
                for name in given
                if name in new.instances
            },
            "problems": [f"instance {name}: {reason}" for name, reason in refused.items() if name in given],
        }

    async def planned(self, wanted: Wanted) -> tuple[Plan, dict[str, str]]:
        """Plan as if this were the configuration, and all its namespaces stood."""
        supervisor = self._supervisor
        lots, refused = supervisor.allot(supervisor.ledger.rehearsal(), wanted.instances)
        facts = await supervisor.host.look(lots, supervisor.apps.ports(), supervisor.apps.lent())
        return plan(wanted, facts, lots), refused

    def inside(self, name: str, new: InstancePlan, old: InstancePlan | None) -> list[str]:
        """Return what would change inside an instance, against what it was told last."""
        place = Place(name=name, run_dir=self._supervisor.paths.run, state_dir=self._supervisor.paths.state)
        before = plan_namespace(old.config, place) if old else ()
        after = plan_namespace(new.config, place)
        same = set(before) & set(after)
        stands = {item.key: item for item in before if item not in same}
        return [str(change) for change in diff([item for item in after if item not in same], stands)]


def mapping(body: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Return a field of a request that holds a map; its keys are texts. Raises ControlError."""
    found = body.get(field, {})
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ControlError(f"`{field}` is no map with names", 2)
    return found


def resolv_conf(instance: InstancePlan) -> str:
    """Return the resolv.conf(5) for whoever lives in an instance; empty: of a switch, which knows none."""
    if instance.config.bridge is None:
        return ""
    return f"search {instance.config.domain}\nnameserver {instance.config.router.ip}\n"
