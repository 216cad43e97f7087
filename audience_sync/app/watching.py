"""What became of deliveries: what partners tell of lists, and where the canaries are."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audience_sync.app.aims import Aims
from audience_sync.app.parts import Parts
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.runs.reported import read_statistics

if TYPE_CHECKING:
    from audience_sync.runs.flight import Flight
    from audience_sync.runs.outcome import Outcome

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watching:
    """Looks at what was sent; it changes nothing that a partner holds.

    But for removals of people who withdrew: what a partner lost of those is sent again.
    """

    parts: Parts
    aims: Aims

    def read_statistics(self, run: Run) -> None:
        """Remember what the partner tells of a list that a run has just changed; never fails.

        A run that sent nothing asks nothing either (L8).
        """
        if run.outbox is not None and run.state in (RunState.DELIVERED, RunState.CONFIRMED):
            remote = self.parts.ledger.remote_list(run.audience, run.destination)
            read_statistics(self.parts.ledger, self.parts.link, remote, self.parts.now())

    def ask_partners(self) -> list[Outcome]:
        """Ask about every delivery and removal without a final answer yet, and about every list."""
        parts = self.parts
        outcomes = parts.pipeline.poll_delivered()
        if parts.ledger.withdrawal_deliveries(only_open=True):
            parts.withdrawals.ask()
        for remote in parts.ledger.remote_lists():
            if remote.destination in parts.project.destinations:
                read_statistics(parts.ledger, parts.link, remote, parts.now())
        return outcomes

    def canaries(self) -> list[Flight]:
        """Where the project's canaries are on every list, and which did not move."""
        parts = self.parts
        if not parts.project.canaries or not parts.project.audiences:
            return []
        from audience_sync.runs.flight import Watch  # noqa: PLC0415 - keeps status light

        selection = parts.selection()
        watch = Watch(
            ledger=parts.ledger,
            location=parts.location,
            keyring=parts.keyring_and_fingerprint_key[0],
            identity={kind: selection.identity_form(kind) for kind in selection.mapped},
        )
        return watch.flights(self.aims.looked_at(), parts.now())

    def warn_of_canaries(self) -> None:
        """Tell the log of this program which canaries did not move."""
        for flight in self.canaries():
            if flight.alert is not None:
                where = f"{flight.audience} at {flight.destination}"
                _log.warning("The canary %s on %s: %s", flight.canary, where, flight.alert)
