"""Follows a packet from namespace to namespace until it leaves the machine, arrives, or ends."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from nsmanager.firewall.numbers import NO_APP, OTHER_PORT
from nsmanager.marks import LINK_GROUP
from nsmanager.names import BRIDGE
from supervisor.cli.errors import NOT_FOUND, CliError
from supervisor.cli.way.kernel import Kernel, Route
from supervisor.names import HOST_END_PREFIX, UPLINK_IFNAME, host_end
from supervisor.passage.judge import Trial
from supervisor.passage.packet import IpAddress, Packet, Step, Way

MAX_CROSSINGS = 8  # namespaces that a packet is followed through; the longest way, out and in again, has four

NO_APPS: Mapping[IpAddress, int] = MappingProxyType({})
MARTIAN = ("Invalid argument", "Invalid cross-device link")  # EINVAL, EXDEV of the route lookup: a forged address
RETURNED = "the network outside may bring it back"


class Walker:
    """One packet's way; the steps grow until `end` is set."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.end = ""
        self.words = ""

    def finish(self, end: str, words: str) -> None:
        """Say where the way ends."""
        self.end, self.words = end, words

    def pass_through(self, kernel: Kernel, packet: Packet) -> Packet:
        """Take the packet through one namespace, from link to link; sets `end` when it gets no further."""
        trial = Trial(kernel.ruleset, kernel, packet)
        if not self._hook(kernel, trial, "prerouting"):
            return trial.packet
        route = self._route(kernel, trial.packet)
        if route is None:
            return trial.packet
        if route.type != "unicast":
            if self._hook(kernel, trial, "input"):
                self.finish(
                    "delivered", f"to {_whose(kernel)} itself: {trial.packet.target}, from {trial.packet.source}"
                )
            return trial.packet
        trial.packet = msgspec.structs.replace(trial.packet, oif=route.dev, oifgroup=kernel.group(route.dev))
        if self._hook(kernel, trial, "forward"):
            self._hook(kernel, trial, "postrouting")
        if not self.end:
            self._next_hop(kernel, trial.packet, route)
        return trial.packet

    def switch(self, kernel: Kernel, packet: Packet, target: int) -> None:
        """Say what becomes of a packet between two ports of the bridge; `target`: the number of the app it is for."""
        words = f"{packet.destination} is in {_whose(kernel)}'s own subnet: it is switched on the bridge"
        if not kernel.judges_switched(packet.version):
            self.finish("bridge", f"{words}, and passes no rule")
            return
        marked = msgspec.structs.replace(packet, oif=BRIDGE, oifgroup=packet.iifgroup, mark=packet.mark | target << 16)
        if self._hook(kernel, Trial(kernel.ruleset, kernel, marked), "forward"):
            self.finish("bridge", f"{words}, and passes its rules")

    def _hook(self, kernel: Kernel, trial: Trial, hook: str) -> bool:
        """Run the chains of a hook; return whether the packet goes on."""
        known = len(trial.decisions)
        passed = trial.run(hook)
        new = trial.decisions[known:]
        for decision in new:
            if decision.kind == "filter" and decision.effect == "accepted" and hook not in ("input", "forward"):
                continue  # no news: these chains forbid nothing else
            self.steps.append(Step(kernel.name, decision.kind, decision.effect, decision.by, decision.asked))
        if hook in ("input", "forward") and passed and not any(one.kind == "filter" for one in new):
            self.steps.append(Step(kernel.name, "filter", "accepted: no rule forbids it"))
        if not passed:
            last = new[-1].by
            self.finish("dropped", f"in {_whose(kernel)}, by {next((one for one in last if 'drop' in one), last[0])}")
        return passed

    def _route(self, kernel: Kernel, packet: Packet) -> Route | None:
        """Ask for the route; None: there is none, and `end` is set."""
        route = kernel.route(packet)
        if route.error:
            self._unreachable(kernel, packet, route)
            return None
        if not kernel.instance:
            rule, command = kernel.rule_of(packet, route.table)
            self.steps.append(Step(kernel.name, "rule", f"table {route.table}", (rule,) if rule else (), (command,)))
        to = f"out by {route.dev}" if route.type == "unicast" else f"{route.type}: to {_whose(kernel)} itself"
        via = f" to {route.via}" if route.via else ""
        self.steps.append(Step(kernel.name, "route", to + via, (route.text,) if route.text else (), (route.command,)))
        return route

    def _unreachable(self, kernel: Kernel, packet: Packet, route: Route) -> None:
        martian = route.error in MARTIAN
        rule, refusing, table = ("", "", "") if martian else kernel.refusal(packet)
        by = tuple(words for words in (rule, refusing) if words)
        self.steps.append(Step(kernel.name, "route", f"no way: {route.error}", by, (route.command,)))
        if martian:
            words = f"as martian: {packet.source} to {packet.destination} can't come in by {packet.iif}"
            self.finish("dropped", f"in {_whose(kernel)}, {words}")
        elif kernel.instance and not kernel.link(UPLINK_IFNAME):
            self.finish("unreachable", f"air-gapped: {kernel.instance} has no link to the host")
        elif uplink := kernel.uplink_of(table):
            words = f"{uplink} has no way there now (table {table}); see `nsvisor describe uplink {uplink}`"
            self.finish("unreachable", words)
        elif rule and not refusing:
            words = f"its packets have no mark, so no uplink; see `nsvisor describe instance {self.steps[0].where}`"
            self.finish("unreachable", words)
        else:
            why = f"table {table} says {refusing.split()[0]}" if refusing else "no route"
            self.finish("unreachable", f"{packet.destination} from {_whose(kernel)}: {why}")

    def _next_hop(self, kernel: Kernel, packet: Packet, route: Route) -> None:
        """Say who gets the packet on an uplink or a bridge; links between host and instances need no question."""
        if packet.oif == UPLINK_IFNAME if kernel.instance else packet.oifgroup == LINK_GROUP:
            return
        hop = route.via or packet.destination
        answer = kernel.neighbour(hop, packet.oif)
        known = " ".join(answer.output.split())
        words = known or f"nothing known of {hop}: the kernel will ask for it"
        self.steps.append(Step(kernel.name, "next hop", words, (), (answer.command,)))
        if "FAILED" in known:
            self.finish("lost", f"{hop} doesn't answer on {packet.oif} of {_whose(kernel)}")
        elif packet.oif == BRIDGE and kernel.instance:
            router = f", by {route.via} as the router" if route.via else ""
            self.finish("delivered", f"to {packet.target} in {kernel.instance}, from {packet.source}{router}")
        else:
            self.finish("leaves", f"by {packet.oif} to {hop}, from {packet.source} to {packet.target}")


def walk(instance: str, packet: Packet, apps: Mapping[IpAddress, int] = NO_APPS) -> Way:
    """Follow a packet of an app of an instance; `apps` has the numbers of its apps, by address.

    Raises CliError when the kernel can't be asked.
    """
    walker = Walker()
    kernel, host = Kernel(instance), Kernel()
    if not kernel.link(BRIDGE):
        raise CliError(f"no instance {instance} here: no link {BRIDGE} in /run/netns/{instance}", NOT_FOUND)
    packet = msgspec.structs.replace(
        packet, iif=BRIDGE, iifgroup=kernel.group(BRIDGE), mark=apps.get(packet.source, NO_APP)
    )
    first = kernel.route(packet)
    if first.dev == BRIDGE and first.type == "unicast" and first.via is None:
        walker.steps.append(Step(instance, "route", f"out by {BRIDGE}", (first.text,), (first.command,)))
        walker.switch(kernel, packet, apps.get(packet.destination, OTHER_PORT))
        return Way(tuple(walker.steps), walker.end, walker.words)
    for _ in range(MAX_CROSSINGS):
        packet = walker.pass_through(kernel, packet)
        if walker.end == "leaves" and (owner := host.owner(packet.destination)):
            words = f"{packet.destination} is the host's own address on {owner}; {RETURNED} there"
            walker.steps.append(Step("outside", "return", words, (), (f"ip address show to {packet.destination}",)))
            walker.finish("", "")
            kernel, packet = host, packet.entering(owner, host.group(owner))
        elif walker.end:
            break
        elif kernel.instance:
            link = host_end(kernel.instance)
            kernel, packet = host, packet.entering(link, host.group(link))
        else:
            kernel = Kernel(packet.oif.removeprefix(HOST_END_PREFIX))
            packet = packet.entering(UPLINK_IFNAME, kernel.group(UPLINK_IFNAME))
    return Way(tuple(walker.steps), walker.end or "lost", walker.words or "it turns in a circle")


def _whose(kernel: Kernel) -> str:
    return kernel.instance or "the host"
