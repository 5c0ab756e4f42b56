"""Who among the host's uplinks is chosen for whom. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pubsub.topics import InstanceType, NetworkInstanceConfig, UplinkConfig
from supervisor.uplinks.selection import Candidate, Selection, select


class Choices:
    """The host's uplinks, and who among them is chosen: equal wishes are decided once.

    `lent`: links that instances want for themselves, and so lead nobody else out.
    """

    def __init__(
        self, known: dict[str, Candidate], lent: Mapping[str, str], uplinks: Mapping[str, UplinkConfig]
    ) -> None:
        self.known = {ifname: candidate for ifname, candidate in known.items() if ifname not in lent}
        self._lent = lent
        self._uplinks = uplinks
        self._made: dict[tuple[object, ...], Selection] = {}

    def _is_meant(self, ifname: str, words: Iterable[str]) -> bool:
        labels = self._uplinks[ifname].labels if ifname in self._uplinks else ()
        return any(word == ifname or word in labels for word in words)

    def select(self, config: NetworkInstanceConfig, present: str) -> Selection:
        """Choose for an instance that has the present one now."""
        if config.type is InstanceType.SWITCH:
            return Selection(None)
        key = (config.uplinks, present, config.balance)
        if key not in self._made:
            made = select(config.uplinks, self.known, present, balance=config.balance)
            named = [ifname for ifname in self._lent if self._is_meant(ifname, config.uplinks or ())]
            taken = [f"{ifname} is lent to instance {self._lent[ifname]}" for ifname in named]
            if made.uplink is None and taken:
                made = msgspec.structs.replace(made, reason=f"uplink {', '.join(taken)}; name another")
            self._made[key] = made
        return self._made[key]
