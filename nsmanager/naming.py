"""The names behind a manager's marks and addresses, kept up to date with its board."""

from __future__ import annotations

from nsmanager.board import Board
from nsmanager.firewall.entries import app_numbers, decisions
from nsmanager.residents import Residents
from pubsub.topics import NamespaceConfig, NamespaceStatus

APP_MASK = 0xFFFF  # of a packet's mark: the number of the app that sent it


class Naming:
    """What is known now; made anew when config or status are others."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._config: NamespaceConfig | None = None
        self._status: NamespaceStatus | None = None
        self._apps: dict[int, str] = {}
        self._decisions: dict[int, tuple[str, str]] = {}
        self._residents: Residents | None = None

    @property
    def residents(self) -> Residents:
        """Whose addresses are whose. The board has a config."""
        self._follow()
        if self._residents is None or self._board.status is not self._status:
            assert self._config is not None
            self._status = self._board.status
            self._residents = Residents(self._config, self._status)
        return self._residents

    def app(self, mark: int) -> str:
        """Return the app whose packet has that mark; empty: none's."""
        self._follow()
        return self._apps.get(mark & APP_MASK, "")

    def decision(self, number: int) -> tuple[str, str] | None:
        """Return app and rule of a half of a connection's mark."""
        self._follow()
        return self._decisions.get(number)

    def _follow(self) -> None:
        config = self._board.config
        if config is not None and config is not self._config:
            self._config = config
            self._apps = {number: name for name, number in app_numbers(config).items()}
            self._decisions = decisions(config)
            self._residents = None
