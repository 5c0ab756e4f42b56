"""Sysctls of links that are not ours: what they were before we set them, and back to that when we need them no more.

The originals lie in RUN/sysctls.json: a reboot forgets both them and what was set.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from nsmanager.item import Item
from nsmanager.items.sysctl import Sysctl
from nsmanager.namespace import Namespace
from supervisor.files import read_or_none, write_atomically
from supervisor.names import FORWARDING6, FORWARDS6
from supervisor.packet_steering import PacketSteering

log = logging.getLogger(__name__)

TOLD = ("forwarding", "rp_filter")  # of a change of these the kernel tells by itself (RTM_NEWNETCONF)
OF_ALL = "net.ipv4.ip_forward"  # who writes it writes every link's forwarding: docker, an operator, never we


def changed_unheard(ns: Namespace, plan: Iterable[Item]) -> bool:
    """Tell whether something isn't as planned that no event tells of: most sysctls, and how links are steered."""
    return any(
        item.is_lost(ns)
        if isinstance(item, PacketSteering)
        else isinstance(item, Sysctl) and not _is_told(item.name) and _is_changed(ns, item)
        for item in plan
    )


def _is_told(name: str) -> bool:
    """Tell whether the kernel does when a sysctl changes; from one sort of yes to another it doesn't."""
    return name.endswith(TOLD) and name != FORWARDING6


def _is_changed(ns: Namespace, item: Sysctl) -> bool:
    value = ns.read_sysctl(item.name)
    return value is not None and not item.matches(msgspec.structs.replace(item, value=value))


def _forwards(name: str) -> bool:
    """Tell whether that is a link's own, which whoever writes OF_ALL writes too."""
    return name.startswith("net.ipv4.conf.") and name.endswith(".forwarding")


def _worth_noting(borrowed: Collection[Sysctl]) -> set[str]:
    names = {sysctl.name for sysctl in borrowed}
    return names | {OF_ALL} if FORWARDING6 in names or any(map(_forwards, names)) else names


class BorrowedSysctls:
    """The original values by sysctl; each is in the file before the sysctl is set.

    With what lets the host forward, OF_ALL is noted: once it is another, somebody gave all links that.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "sysctls.json"
        self.originals: dict[str, str] = msgspec.json.decode(read_or_none(self._path) or b"{}", type=dict[str, str])

    def note(self, ns: Namespace, borrowed: Collection[Sysctl]) -> list[tuple[Sysctl, str]]:
        """Write down what the sysctls are that will be set for the first time. Returns those that can't be, and why."""
        new = {name: ns.read_sysctl(name) for name in sorted(_worth_noting(borrowed) - self.originals.keys())}
        known = {name: value for name, value in new.items() if value is not None}
        if known:
            try:
                self._write({**self.originals, **known})
            except OSError as exc:
                why = f"its value isn't set, since the present one can't be written to {self._path}: {exc.strerror}"
                return [(s, f"sysctl {s.name}: {why}") for s in borrowed if s.name in known]
        return []

    def follow(self, ns: Namespace) -> Collection[str]:
        """Take it as the original when somebody made the host a router since, or none: that is what he counts on.

        Returns the sysctls of which that is so: what is planned of them by now would undo it.
        """
        if OF_ALL not in self.originals:
            return ()
        found = {name: ns.read_sysctl(name) for name in (OF_ALL, FORWARDING6) if name in self.originals}
        given = {name: value for name, value in found.items() if value not in (None, FORWARDS6, self.originals[name])}
        for name, value in given.items():
            log.info("host: somebody set %s=%s, which stays when no instance needs it", name, value)
        if OF_ALL in given:
            given |= dict.fromkeys(filter(_forwards, self.originals), given[OF_ALL])
        if given:
            self._keep(self.originals | given)
        return given.keys()

    def restore(self, ns: Namespace, borrowed: Collection[Sysctl]) -> None:
        """Give back those that are needed no more. A link that is gone took its sysctls along."""
        needed = _worth_noting(borrowed)
        done = self.originals.keys() - needed
        for name in sorted(done - {OF_ALL}):
            if ns.read_sysctl(name) not in (None, self.originals[name]):
                ns.write_sysctl(name, self.originals[name])
                log.info("host: sysctl -w %s=%s", name, self.originals[name])
        if done:
            self._keep({name: value for name, value in self.originals.items() if name in needed})

    def _keep(self, originals: dict[str, str]) -> None:
        try:
            self._write(originals)
        except OSError as exc:  # the next pass does it again
            log.warning("%s can't be written: %s", self._path, exc.strerror)

    def _write(self, originals: dict[str, str]) -> None:
        write_atomically(self._path, msgspec.json.encode(originals))
        self.originals = originals
