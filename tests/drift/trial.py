"""One thing done by hand: it is back, was logged as the command that was done, and nothing else was written."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterable, Iterator

from nsmanager.items.link import Link
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.route import Route
from nsmanager.items.rule import Rule
from nsmanager.items.sysctl import Sysctl
from nsmanager.names import TUNNEL
from supervisor.items import LocalRule, Veth
from supervisor.names import host_end
from tests.drift.drifts import Drift
from tests.drift.heard import POKE, route_subject, subject
from tests.drift.rig import REPAIR, System
from tests.hosts import wait_until

CASCADING = (Link, Veth)  # with a link go its addresses, routes, settings, and what it is the port of
# What charon writes, which begins anew on a link that was made anew.
CHARONS = re.compile(rf"^\[RULE\].*\tfrom all lookup 220|^\[ROUTE\].* dev {TUNNEL} ")
SILENCE = 0.3  # seconds; a pass takes less, unless the machine is busy
ONE_EVENT = (Route, Rule, LocalRule, Neighbour)  # each is made by one message of one object


@dataclasses.dataclass
class Trial:
    """All drifts of a namespace, one after another; the figures grow."""

    system: System
    name: str  # of the instance; empty: the host
    seconds: list[float] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)

    def run(self, drifts: list[Drift]) -> None:
        """Try each; what fails is noted, and doesn't stop the others."""
        for drift in drifts:
            try:
                self.seconds.append(self.try_one(drift))
            except AssertionError as exc:
                self.failures.append(f"{self.name or 'host'}: {drift}: {exc}")
                self.system.hands[self.name].converge()
        self.quiet()

    def quiet(self) -> None:
        """See that nothing was written since the last look, in any namespace."""
        for name in self.system.ears:
            lines = self._take(name)
            assert not lines, f"{name or 'host'}: {lines}"

    def _take(self, name: str) -> list[str]:
        """Return what was written; that a link has its carrier again the kernel tells up to a second later."""
        lines = self.system.ears[name].take()
        return [line for line in lines if not (subject(line) in self.system.links and ",LOWER_UP>" in line)]

    def try_one(self, drift: Drift) -> float:
        """Do it, and see what comes of it. Returns the seconds until it was as planned again."""
        system, cascading = self.system, cascades(drift)
        elsewhere = self._elsewhere(drift)
        with system.frozen():
            before = {name: self._take(name) for name in system.ears}
            assert not any(before.values()), f"written after the repair before this one: {before}"
            said = {name: system.said(name) for name in system.ears}
            system.hands[self.name].sh(drift.script)
            done = {name: system.ears[name].take() for name in system.ears}
            self.system.links |= {
                subject(line) for lines in done.values() for line in lines if line.startswith("[LINK]")
            }
            expected = {name: system.hands[name].changes() for name in (self.name, *elsewhere)}
        assert expected[self.name], "nothing differs from the plan"
        seconds = max(system.hands[name].converge() for name in expected)
        # What goes with a link may be as planned as soon as that is there again.
        sure = {drift.item.key} if cascading else expected[self.name].keys()
        wanted = {command for key, command in expected[self.name].items() if key in sure}
        wait_until(lambda: self._is_logged(said[self.name], wanted), REPAIR, "its log")
        if cascading:
            self._hear_out(expected)
        self._poke()
        for name in system.ears:
            self._judge(name, drift, self._take(name), done[name], expected.get(name, {}))
            if not cascading:
                commands = sorted(system.commands(name, said[name]))
                assert commands == sorted(expected.get(name, {}).values()), f"logged: {commands}"
        return seconds

    def _elsewhere(self, drift: Drift) -> tuple[str, ...]:
        """Return the other namespaces in which something goes with it: a veth has two ends."""
        if isinstance(drift.item, Veth):
            return (drift.item.netns,)
        return ("",) if isinstance(drift.item, Link) and drift.item.ifname == "up0" else ()

    def _is_logged(self, since: int, wanted: set[str]) -> bool:
        commands = self.system.commands(self.name, since)
        assert wanted <= set(commands), f"{wanted} in {commands}"
        return True

    def _hear_out(self, names: Iterable[str]) -> None:
        """Return when logs are silent: what is done is logged at the end of a pass, and here nobody knows how much."""
        said = 0

        def silent() -> bool:
            nonlocal said
            before, said = said, sum(len(self.system.log(name)) for name in names)
            time.sleep(SILENCE)
            return said == before

        wait_until(silent, what="silent logs")

    def _poke(self) -> None:
        """Let the manager see once that all is well: who drifts again and again is answered with pauses."""
        if self.name:
            self.system.hands[self.name].sh(f"ip addr add {POKE}/32 dev lo; ip addr del {POKE}/32 dev lo")

    def _judge(
        self, name: str, drift: Drift, heard: list[str], by_hand: list[str], changes: dict[tuple[str, ...], str]
    ) -> None:
        """Compare what was written with what the hand took away or changed."""
        subjects = [subject(line) for line in heard]
        wanted = {subject(line) for line in by_hand} | {*_subjects(changes)}
        if not name and "" in self._elsewhere(drift):
            wanted.add(f"link {host_end(self.name)}")  # the kernel tells late that its other end is down
        if isinstance(drift.item, Sysctl) and cascades(drift):
            heard_of_others: list[str] = []
        elif isinstance(drift.item, CASCADING):
            ends = (drift.item.ifname, drift.item.peer) if isinstance(drift.item, Veth) else (drift.item.ifname,)
            links = {link for one in wanted for link in one.split()[1:2]}.union(ends)
            heard_of_others = [line for line in heard if subject(line) not in wanted and not _is_about(line, links)]
        else:
            heard_of_others = [line for line in heard if subject(line) not in wanted]
        assert not heard_of_others, f"in {name or 'the host'} was also written: {heard_of_others}"
        if isinstance(drift.item, ONE_EVENT):
            assert len(subjects) == len(set(subjects)), f"written more than once: {heard}"


def cascades(drift: Drift) -> bool:
    """Tell whether more goes with it than one object: what is on a link, or what a setting of all links writes."""
    if isinstance(drift.item, Sysctl):
        return ".all." in drift.item.name
    return isinstance(drift.item, CASCADING) and drift.what != "add"


def _is_about(line: str, links: set[str]) -> bool:
    return bool(CHARONS.match(line)) or any(f" {link}" in line or f"]{link}" in line for link in links)


def _subjects(changes: dict[tuple[str, ...], str]) -> Iterator[str]:
    """Yield the subjects that the monitors know of what is changed, by the keys of the items."""
    for (kind, *rest), command in changes.items():
        match kind:
            case "route":
                yield route_subject(command.partition(" route ")[2].split()[1:])
            case "nft":
                yield f"nft {rest[0]} {rest[1]}"
                yield f"nft {rest[0]} {rest[1]}_digest"
            case "link" | "veth" | "bridge":
                yield f"link {rest[0]}"
            case "address":
                yield f"address {rest[0]} {rest[1]}"
            case "neighbour":
                yield f"neighbour {rest[0]} {rest[1]}"
            case "sysctl":
                yield f"settings {'inet' if '.ipv4.' in rest[0] else 'inet6'} {rest[0].split('.')[-2]}"
