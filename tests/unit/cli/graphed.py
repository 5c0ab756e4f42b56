"""Systems to draw: the edge node as it is meant, and one in which much is wrong."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface

from pubsub.topics import (
    AppConfig,
    AppNetworkStatus,
    Attachment,
    DeviceNetworkStatus,
    InstanceType,
    NamespaceStatus,
    NetworkInstanceConfig,
    NetworkInstanceStatus,
    PortMapStatus,
    State,
    TunnelStatus,
)
from supervisor.cli.graph import System


def uplink(number: int, cost: int = 0, **more: object) -> DeviceNetworkStatus:
    """Return a healthy uplink of the edge node."""
    network = f"192.168.{number}"
    return DeviceNetworkStatus(
        ifname=f"eth{number}", up=True, addresses=(IPv4Interface(f"{network}.2/24"),), cost=cost, healthy=True,
        gateways=(IPv4Address(f"{network}.1"),), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def instance(number: int, type_: InstanceType, subnet: str, ifname: str, **more: object) -> NetworkInstanceStatus:
    """Return an instance of the edge node."""
    fields = {"state": State.READY, "subnet": IPv4Network(subnet) if subnet else None, "uplink": ifname, **more}
    return NetworkInstanceStatus(name=f"ni{number}", type=type_, **fields)  # type: ignore[arg-type]


def app(number: int, of: str, address: str, **more: object) -> AppNetworkStatus:
    """Return an app of an instance."""
    fields: dict[str, object] = {"address": IPv4Address(address) if address else None, "attached": True, **more}
    return AppNetworkStatus(instance=of, app=f"app{number}", kind="netns", **fields)  # type: ignore[arg-type]


def manager(cloud: str, address: str) -> NamespaceStatus:
    """Return what the manager of a VPN instance says."""
    networks = ("10.10.10.0/24 === 192.168.0.0/24",)
    tunnel = TunnelStatus(name=cloud, up=True, remote=f"{address}:4500", esp="user space", networks=networks)
    return NamespaceStatus(ready=True, tunnels=(tunnel,))


def edge_node() -> System:
    """Return four uplinks, six instances and six apps, all well."""
    local, vpn, switch = InstanceType.LOCAL, InstanceType.VPN, InstanceType.SWITCH
    port_map = PortMapStatus(
        app="app2", uplink="eth0", outer="192.168.0.2:8080", inner="192.168.1.12:80", protocol="tcp"
    )
    instances = (
        instance(1, local, "10.10.1.0/24", "eth0"),
        instance(2, local, "192.168.1.0/24", "eth0", portmaps=(port_map,)),
        instance(3, local, "10.10.1.0/24", "eth1"),
        instance(4, vpn, "10.10.10.0/24", "eth1"),
        instance(5, vpn, "10.10.10.0/24", "eth2"),
        instance(6, switch, "", "", uplinks=("eth3",)),
    )
    apps = (
        app(1, "ni1", "10.10.1.11"),
        app(1, "ni2", "192.168.1.11"),
        app(2, "ni2", "192.168.1.12"),
        app(3, "ni3", "10.10.1.13"),
        app(4, "ni4", "10.10.10.14"),
        app(5, "ni5", "10.10.10.15"),
        app(6, "ni6", "", addresses=("192.168.3.106",)),
    )
    return System(
        host="edge node",
        uplinks={f"eth{number}": uplink(number, cost=10 * number) for number in range(3)},
        instances={one.name: one for one in instances},
        apps={f"{one.instance}/{one.app}": one for one in apps},
        managers={"ni4": manager("cloud1", "192.168.111.1"), "ni5": manager("cloud2", "192.168.222.1")},
        configs={
            one.name: NetworkInstanceConfig(
                apps={
                    each.app: AppConfig(attach=Attachment(netns=each.app)) for each in apps if each.instance == one.name
                }
            )
            for one in instances
        },
    )


def trouble() -> System:
    """Return a system with an unhealthy uplink, a failed instance, an app that isn't there, and hostile texts."""
    down = DeviceNetworkStatus(
        ifname="wwan0", up=False, labels=("lte", "<b>&"), reason='uplink wwan0 is "down" or has no carrier',
        addresses6=(IPv6Interface("2001:db8::2/64"),), cost=10,
    )  # fmt: skip
    idle = DeviceNetworkStatus(ifname="eth0", up=True, healthy=True, addresses=(IPv4Interface("192.0.2.2/24"),))
    failed = NetworkInstanceStatus(
        name="red", type=InstanceType.LOCAL, state=State.FAILED, uplink="wwan0", subnet=IPv4Network("10.1.0.0/24"),
        reason='manager (pid 7) ended with code 1: "</text><script>alert(1)</script>"',
    )  # fmt: skip
    alone = NetworkInstanceStatus(
        name="blue", type=InstanceType.LOCAL, state=State.READY, subnet=IPv4Network("10.1.0.0/24")
    )
    away = AppNetworkStatus(
        instance="red", app="web", address=IPv4Address("10.1.0.80"), kind="tap", reason="no link tap7; #1 \\n"
    )
    free = AppNetworkStatus(instance="blue", app="web")
    return System(
        host="box & more",
        uplinks={"wwan0": down, "eth0": idle},
        instances={"red": failed, "blue": alone},
        apps={"red/web": away, "blue/web": free},
        managers={
            "red": NamespaceStatus(ready=False, tunnels=(TunnelStatus(name="far", up=False, reason="no answer"),))
        },
        configs={},
    )
