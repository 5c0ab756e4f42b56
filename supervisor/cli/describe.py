"""`nsvisor describe`: all that is known of one instance, app or uplink."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli.completion import instance_names
from supervisor.cli.errors import NOT_FOUND, CliError
from supervisor.cli.options import Folders, with_folders, with_output
from supervisor.cli.output import milliseconds, render_object, show, size, table
from supervisor.cli.sparkline import draw, terminal_knows_unicode
from supervisor.printable import in_line


@click.command("describe")
@click.argument("kind", metavar="KIND", type=click.Choice(("instance", "app", "uplink")))
@click.argument("name", shell_complete=instance_names)
@with_output
@with_folders
def describe_command(kind: str, name: str, output: str, folders: Folders) -> None:
    """Tell all about one KIND: instance NAME, app INSTANCE/NAME or uplink NAME."""
    from supervisor.cli.resources import in_words

    found = {"instance": describe_instance, "app": describe_app, "uplink": describe_uplink}[kind](name, folders)
    if output in ("json", "yaml"):
        print(render_object(found, output))
    elif output == "name":
        print(name)
    else:
        if "resources" in found:
            found["resources"] = in_words(found["resources"])
        print(render_text(found, unicode=terminal_knows_unicode()))


def describe_instance(name: str, folders: Folders) -> dict[str, Any]:
    """Return an instance's status, what its manager says, its processes and what its config says."""
    from pubsub import topics
    from pubsub.codec import to_plain
    from supervisor.cli.processes import measure
    from supervisor.cli.reading import read_now

    statuses, inside, configs, problems, apps, told, used = read_now(
        folders.run,
        (topics.NetworkInstanceStatus, "supervisor", ""),
        (topics.NamespaceStatus, "nsmanager", name),
        (topics.NetworkInstanceConfig, "confd", ""),
        (topics.ConfigProblem, "confd", ""),
        (topics.AppNetworkStatus, "supervisor", ""),
        (topics.NamespaceConfig, "supervisor", name),
        (topics.InstanceResources, "supervisor", ""),
    )
    if name not in statuses.table:
        raise CliError(f"no instance {name}; see `nsvisor get instances`", NOT_FOUND)
    found: dict[str, Any] = to_plain(statuses.table[name])
    found["processes"] = [{**process, **measure(process["pid"])} for process in found["processes"]]
    services = {service.name: service for service in inside.table[name].services} if name in inside.table else {}
    for process in found["processes"]:
        if process["name"] in services:
            process["restarts"] = services[process["name"]].restarts
            process["error"] = services[process["name"]].error
        else:
            process["restarts"], process["error"] = found["restarts"], ""
    found["apps"] = [to_plain(app) for app in apps.table.values() if app.instance == name]
    if name in inside.table:
        found["leases"] = [to_plain(lease) for lease in inside.table[name].leases]
        found["tunnels"] = [to_plain(tunnel) for tunnel in inside.table[name].tunnels]
        found["ports"] = list(inside.table[name].ports)
        found["waiting"] = list(inside.table[name].waiting)
        found["errors"] = list(inside.table[name].errors)
    if name in used.table:
        found["held_by"] = used.table[name].held_by
        found["resources"] = [to_plain(one) for one in used.table[name].resources]
    found["problems"] = [to_plain(problem) for problem in problems.table.values() if problem.instance == name]
    found["static_routes"] = [to_plain(route) for route in configs.table[name].routes] if name in configs.table else []
    found["told_routes"] = [to_plain(route) for route in told.table[name].routes] if name in told.table else []
    found["config"] = to_plain(configs.table[name], sparse=True) if name in configs.table else None
    return found


def describe_app(name: str, folders: Folders) -> dict[str, Any]:
    """Return an app's status, with its port maps."""
    from pubsub import topics
    from pubsub.codec import to_plain
    from supervisor.cli.processes import measure
    from supervisor.cli.reading import read_now

    apps, instances = read_now(
        folders.run, (topics.AppNetworkStatus, "supervisor", ""), (topics.NetworkInstanceStatus, "supervisor", "")
    )
    if name not in apps.table:
        raise CliError(f"no app {name}; write INSTANCE/APP, see `nsvisor get apps`", NOT_FOUND)
    status = apps.table[name]
    found: dict[str, Any] = to_plain(status)
    if status.pid:
        found["processes"] = [{"name": status.app, "pid": status.pid, **measure(status.pid)}]
    portmaps = instances.table[status.instance].portmaps if status.instance in instances.table else ()
    found["portmaps"] = [to_plain(portmap) for portmap in portmaps if portmap.app == status.app]
    return found


def describe_uplink(name: str, folders: Folders) -> dict[str, Any]:
    """Return an uplink's status, with the instances bound to it, and what its config says."""
    from pubsub import topics
    from pubsub.codec import to_plain
    from supervisor.cli.reading import read_now

    uplinks, configs, problems = read_now(
        folders.run,
        (topics.DeviceNetworkStatus, "supervisor", ""),
        (topics.UplinkConfig, "confd", ""),
        (topics.ConfigProblem, "confd", ""),
    )
    if name not in uplinks.table:
        raise CliError(f"no uplink {name}; see `nsvisor get uplinks`", NOT_FOUND)
    found: dict[str, Any] = to_plain(uplinks.table[name])
    found["problems"] = [to_plain(problem) for problem in problems.table.values() if problem.uplink == name]
    found["config"] = to_plain(configs.table[name], sparse=True) if name in configs.table else None
    return found


def render_text(found: dict[str, Any], *, unicode: bool = True) -> str:
    """Return fields first, then each list of objects as a table of its own; without `unicode` in plain ASCII."""
    plain = {key: value for key, value in found.items() if not _is_objects(value) and not isinstance(value, dict)}
    width = max(len(key) for key in plain) + 2
    lines = [f"{key.replace('_', ' ') + ':':<{width}}{_text(key, value, unicode)}" for key, value in plain.items()]
    for key, value in found.items():
        if isinstance(value, dict) and value:
            lines += [
                "",
                f"{key.replace('_', ' ')}:",
                *("  " + line for line in render_object(value, "yaml").splitlines()),
            ]
        elif _is_objects(value):
            columns = [name for name in value[0] if any(item[name] not in (None, "", []) for item in value)]
            cells = [[_text(name, item[name], unicode) for name in columns] for item in value]
            titles = [name.upper().replace("_", " ") for name in columns]
            lines += ["", f"{key.replace('_', ' ')}:", *("  " + line for line in table(titles, cells).splitlines())]
    return "\n".join(lines)


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _text(key: str, value: Any, unicode: bool) -> str:
    from supervisor.cli.kinds import moment

    if value is None or value == "":
        return "-"
    if key.endswith("since") or key == "expires":
        return moment(value)
    if key == "pss_bytes":
        return size(value)
    if key == "cpu_seconds":
        return f"{value:.2f} s"
    if key == "cpu_percent":
        return f"{value:.1f} %"
    if key == "latency":
        return milliseconds(value)
    if key == "mark":
        return hex(value) if value else "-"
    if key == "history":
        return draw(value, unicode=unicode)
    return in_line(show(value))
