"""A `switch` instance: apps and uplinks on one bridge, without an address, and without any service of ours. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pubsub.topics import AppConfig, InstanceType, NamespaceApp, NamespaceConfig, NetworkInstanceConfig, UplinkConfig
from supervisor.instances.base import Place, Resolved
from supervisor.instances.local import any_mac, named_rules
from supervisor.names import app_mac

NO_APP = AppConfig()


def resolve_switch(config: NetworkInstanceConfig, place: Place) -> Resolved:
    """Make every choice of one valid config; apps get their addresses from outside."""
    stp = config.switch.stp
    namespace = NamespaceConfig(
        type=config.type,
        mtu=place.mtu,
        port_mtu=place.mtu,
        apps=tuple(resolve_app(config, place, name) for name in sorted(config.apps.keys() | place.ports.keys())),
        outer=place.outer,
        stp=stp if stp is not None else place.several,
        lldp=config.switch.lldp,
        log=config.log,
        limits=config.limits,
    )
    return Resolved(namespace)


def resolve_app(config: NetworkInstanceConfig, place: Place, name: str) -> NamespaceApp:
    """Give an app its MAC address; one with a VLAN isn't attached where the kernel has none: never without its tag."""
    app = config.apps.get(name, NO_APP)
    return NamespaceApp(
        name=name,
        mac=app.mac or app_mac(place.name, name),
        address=None,
        ifname=place.ports.get(name, "") if place.vlans or not app.vlan else "",
        rules=named_rules(app.rules),
        user_data=app.user_data,
        any_mac=any_mac(app),
        vlan=app.vlan,
    )


def outer_links(config: NetworkInstanceConfig, uplinks: Mapping[str, UplinkConfig]) -> tuple[str, ...]:
    """Return the ifnames of the links that lead out of a switch; a label stands for each uplink that has it."""
    if config.type is not InstanceType.SWITCH:
        return ()
    found: dict[str, None] = {}
    for word in config.uplinks or ():
        labelled = [ifname for ifname, uplink in sorted(uplinks.items()) if word in uplink.labels]
        found |= dict.fromkeys(labelled or [word])
    return tuple(found)


def lent_links(
    configs: Mapping[str, NetworkInstanceConfig], uplinks: Mapping[str, UplinkConfig], names: Iterable[str]
) -> dict[str, str]:
    """Return which links of the host instances want for themselves, with the instance: they lead nobody else out."""
    found: dict[str, str] = {}
    for name in names:
        config = configs[name]
        own = () if config.switch.shared else outer_links(config, uplinks)
        attached = (app.attach.link for app in config.apps.values() if app.attach and app.attach.link)
        for ifname in (*own, *attached):
            found.setdefault(ifname, name)
    return found
