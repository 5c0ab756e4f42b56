"""What the static routes of an instance must fulfil beyond their types."""

from __future__ import annotations

from ipaddress import IPv4Network

from pubsub.config.rules_words import Findings, Path, check_host, check_network, check_uplink
from pubsub.topics import NetworkInstanceConfig, StaticRoute, SupervisorSettings

EVERYWHERE = IPv4Network("0.0.0.0/0")


def check_routes(config: NetworkInstanceConfig, settings: SupervisorSettings) -> Findings:
    """Yield what is wrong with the static routes of one instance."""
    seen = {route.to: "dhcp.routes" for route in config.dhcp.routes}
    for index, route in enumerate(config.routes):
        path = ("routes", str(index))
        if route.to in seen:
            yield (*path, "to"), f"a route to {route.to} stands in {seen[route.to]} already", "remove one of them"
        seen.setdefault(route.to, f"routes.{index}")
        yield from _destination((*path, "to"), route, config, settings)
        if route.app:
            yield from _by_app(path, route, config)
        else:
            yield from _by_uplink(path, route, config, settings)


def _destination(
    path: Path, route: StaticRoute, config: NetworkInstanceConfig, settings: SupervisorSettings
) -> Findings:
    if config.subnet is not None and route.to.subnet_of(config.subnet):
        message = f"{route.to} lies in the instance's own subnet {config.subnet}, where apps reach each other directly"
        yield path, message, "remove the route"
    elif route.to.subnet_of(settings.link_pool):
        message = f"{route.to} lies in the link pool {settings.link_pool}"
        yield path, message, "choose another destination, or another settings.link_pool"
    elif route.to != EVERYWHERE and route.to.prefixlen >= 4:  # larger ones hold all kinds of networks
        yield from check_network(path, route.to)


def _by_app(path: Path, route: StaticRoute, config: NetworkInstanceConfig) -> Findings:
    if route.via is not None or route.uplink:
        other = "via" if route.via is not None else "uplink"
        yield path, f"`app` and `{other}` exclude each other", "write one of the two"
    if route.app not in config.apps:
        known = ", ".join(config.apps) or "none"
        yield (*path, "app"), f"the instance has no app {route.app!r}", f"add it to `apps`; known: {known}"
    if route.to == EVERYWHERE:
        message = f"an app can't be the way to everything: its own packets to {route.to} would come back to it"
        yield (*path, "to"), message, "write smaller networks, as 10.20.0.0/16"


def _by_uplink(path: Path, route: StaticRoute, config: NetworkInstanceConfig, settings: SupervisorSettings) -> Findings:
    if config.uplinks == ():
        message = "a route without `app` needs an uplink, and `uplinks: []` has none"
        yield path, message, "name an uplink in `uplinks`, or an app as the router"
    if route.via is None and not route.uplink:
        yield (
            path,
            f"the route to {route.to} doesn't say by what way",
            "add `via: ADDRESS`, `uplink: NAME` or `app: NAME`",
        )
    if route.uplink:
        yield from check_uplink((*path, "uplink"), route.uplink)
    if route.via is None:
        return
    if config.subnet is not None and route.via in config.subnet:
        message = f"{route.via} lies in the instance's own subnet {config.subnet}"
        yield (*path, "via"), message, "a router among the apps is named by `app: NAME`"
    elif route.via in settings.link_pool:
        message = f"{route.via} lies in the link pool {settings.link_pool}"
        yield (*path, "via"), message, "write the address of a router in the uplink's network"
    else:
        yield from check_host((*path, "via"), route.via, "a router")
