"""Destinations, ready to use: one link each for all threads, paced with every other worker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from audience_sync.errors import ConfigurationError
from audience_sync.plugins import Installed
from audience_sync.project import Project
from audience_sync.settings import Settings

if TYPE_CHECKING:
    from audience_sync.connector import Connector
    from audience_sync.delivery.board import Board
    from audience_sync.delivery.limits import Gate
    from audience_sync.runs.link import Link
    from audience_sync.runs.vault import Vault


@dataclass(frozen=True)
class Links:
    """Makes a link when it is first asked for.

    `vault` tells where a destination's tokens rest, `accounts` whose lists were filled by it.
    """

    settings: Settings
    installed: Installed
    project: Project
    vault: Callable[[str], Vault]
    accounts: Callable[[str], Collection[str]]
    made: dict[str, Link] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=Lock, repr=False)

    def to(self, destination: str) -> Link:
        """The link to a destination of the project."""
        with self._lock:
            if destination not in self.made:
                self.made[destination] = self._link(destination)
            return self.made[destination]

    def close(self) -> None:
        """Close every link that was made."""
        for link in self.made.values():
            link.close()

    def _link(self, destination: str) -> Link:
        from audience_sync.delivery.client import HttpPartnerClient  # noqa: PLC0415 - keeps status light
        from audience_sync.runs.link import Link  # noqa: PLC0415 - the same

        if destination not in self.project.destinations:
            raise ConfigurationError(
                f"the destination {destination} is no longer in {self.project.path.name}; "
                "put it back"
            )
        found = self.project.destinations[destination]
        account = self.account(destination)
        client = HttpPartnerClient(found.settings.base_url, kept=self._kept(destination))
        connectors: Mapping[str, type[Connector[Any]]] = self.installed.connectors
        connector = connectors[found.connector](found.settings, client)
        client.bind(connector, gate := self._gate(found.name, connector))
        return Link(
            destination=destination,
            connector=connector,
            recording=client.recording,
            close=client.close,
            slots=gate.slots,
            project=self.project.name,
            purpose=self.project.purpose,
            account=account,
        )

    def account(self, destination: str) -> str:
        """Whose lists are filled; refused where those that we know are somebody else's.

        The other account's lists would be believed to be this one's: nobody could be taken off
        them any more, and a list that is not found here would pass for gone.
        """
        found = self.project.destinations[destination]
        field = self.installed.connectors[found.connector].lists_in
        account = str(getattr(found.settings, field)) if field else ""
        others = set(self.accounts(found.name)) - {account}
        if field and others:
            raise ConfigurationError(
                f"destinations.{found.name}.{field} names another account than the one whose lists "
                f"{found.name} has filled so far; put {min(others)} back, and give the other "
                "account a destination of its own name"
            )
        return account

    def _gate(self, destination: str, connector: Connector[Any]) -> Gate:
        """What all who send to the destination's account pass through, in any process."""
        from audience_sync.delivery.limits import Gate  # noqa: PLC0415 - the same

        counted = connector.account() or f"destination {destination}"
        words = f"{connector.name} {connector.settings.base_url} {counted}"
        return Gate(words, self._board, longest_rest=self.settings.longest_rest)

    @cached_property
    def _board(self) -> Board:
        """Where workers share the partners' limits."""
        from audience_sync.delivery.redis_board import board_at  # noqa: PLC0415 - the same

        url = self.settings.broker_url
        return board_at(url.get_secret_value() if url else None)

    def _kept(self, destination: str) -> Callable[[str], Any]:
        """Where a destination's own credentials rest; nothing is opened before one is asked for."""

        def kept(name: str) -> Any:
            return self.vault(destination).kept(name)

        return kept
