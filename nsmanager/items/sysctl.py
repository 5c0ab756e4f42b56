"""Settings below /proc/sys. See sysctl(8) and the kernel's Documentation/networking/ip-sysctl.rst."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from nsmanager.item import Item, Key, NotYet, Observed

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace


class Sysctl(Item, frozen=True):
    """One setting. It carries no mark, so that one which is planned no longer stays as it is."""

    stage: ClassVar[int] = 0

    name: str  # as net.ipv4.ip_forward
    value: str
    optional: bool = False  # a kernel without it is as good
    least: bool = False  # a larger number is as good

    @property
    def key(self) -> Key:
        return ("sysctl", self.name)

    def __str__(self) -> str:
        return f"sysctl -w {self.name}={self.value}"

    def undo(self) -> str:
        return f"# {self.name} stays as it is"

    def matches(self, observed: Observed) -> bool:
        if not isinstance(observed, Sysctl):
            return False
        return observed.value == self.value or (self.least and int(observed.value) >= int(self.value))

    async def create(self, ns: Namespace) -> None:
        """Set it unless it is so already: its link may have been made after the observation."""
        found = ns.read_sysctl(self.name)
        if found is None:
            raise NotYet(self._missing())
        if not self.matches(Sysctl(self.name, found)):
            ns.write_sysctl(self.name, self.value)

    def _missing(self) -> str:
        """Say what is not there: mostly the link that the setting is of."""
        parts = self.name.split("/" if "/" in self.name else ".")
        if len(parts) > 3 and parts[2] in ("conf", "neigh"):
            return f"link {parts[3]} is not there yet"
        return f"the kernel has no {self.name} now"

    async def replace(self, ns: Namespace, _old: Observed, /) -> None:
        ns.write_sysctl(self.name, self.value)

    async def delete(self, ns: Namespace) -> None:
        """Leave it: nobody knows what it was."""

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return the planned settings as they are; an absent one that is optional counts as set."""
        found = []
        for item in planned:
            value = ns.read_sysctl(item.name)
            if value is not None or item.optional:
                found.append(cls(item.name, item.value if value is None else value, item.optional, item.least))
        return found
