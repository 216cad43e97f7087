"""Syncs: lists and reports of orders, planned together and delivered."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from audience_sync.app.aims import Aims
from audience_sync.app.parts import Parts, operator
from audience_sync.app.state import sign_log
from audience_sync.app.watching import Watching
from audience_sync.errors import AudienceSyncError, ConfigurationError
from audience_sync.holder import alive
from audience_sync.ledger.records.runs import RunState

if TYPE_CHECKING:
    from audience_sync.runs.outcome import Outcome
    from audience_sync.runs.targets import Target

_log = logging.getLogger(__name__)
_ASK_AGAIN = timedelta(days=1)  # a person, to approve that a list is emptied
_ASKING = 60.0  # seconds at most before a sync that go to what became of earlier ones


@dataclass(frozen=True)
class Syncs:
    """Brings lists and reports of orders up to date."""

    parts: Parts
    aims: Aims
    watching: Watching

    def sync(
        self,
        audiences: Sequence[str] = (),
        destination: str | None = None,
        *,
        deliver: bool = True,
        keep: bool = True,
        force: bool = False,
    ) -> list[Outcome]:
        """Plan and deliver; see `Pipeline.sync`."""
        from audience_sync.runs.sweep import sweep  # noqa: PLC0415 - keeps status light

        parts = self.parts
        if force and parts.project.approval.two_people:
            raise ConfigurationError(
                "the project asks two people (approval.two_people), so nobody sends held runs "
                "alone: sync without --force, and another person approves what is held"
            )
        named, reports = self.aims.named(audiences, destination)
        lists, refused = self.aims.apart(named)
        sweep(parts.ledger, parts.location, alive, parts.now())
        sends = deliver and keep
        polled: list[Outcome] = []
        if sends:  # first: who leaves while an earlier sync still adds them leaves once more later
            polled = parts.pipeline.poll_due(within=_ASKING)
            self._deliver_withdrawals()
        forced_by = operator() if force else None
        how: dict[str, Any] = {"deliver": deliver, "keep": keep, "forced_by": forced_by}
        self._warn_of_ids(lists)
        outcomes = parts.pipeline.sync(parts.selection(), lists, **how) if lists else []
        outcomes = _in_order([*outcomes, *refused], named)
        if reports:
            outcomes += parts.order_pipeline.sync(parts.selection(), reports, **how)
        return self._after(outcomes, polled) if sends else outcomes

    def _after(self, outcomes: list[Outcome], polled: list[Outcome]) -> list[Outcome]:
        """Ask about earlier deliveries, and leave everything signed and looked at.

        What was `polled` before, a person learns of beside this.
        """
        from audience_sync.runs.outcome import late_failures  # noqa: PLC0415 - the same

        late = late_failures([*polled, *self.parts.pipeline.poll_due()], outcomes)
        outcomes = [self._as_it_is_now(outcome) for outcome in outcomes]
        for outcome in outcomes:
            if outcome.run is not None:
                self.watching.read_statistics(outcome.run)
        self._deliver_withdrawals()
        sign_log(self.parts.ledger, lambda: self.parts.signer)
        self.watching.warn_of_canaries()
        return outcomes + late

    def plan_for_later(
        self, audiences: Sequence[str] = (), destination: str | None = None
    ) -> list[Outcome]:
        """Plan only; the runs to deliver, interrupted ones too, become due to be gone on with."""
        parts = self.parts
        targets, reports = self.aims.named(audiences, destination)
        targets += self.aims.ended(audiences, destination)
        targets, refused = self.aims.apart(targets)
        targets = [target for target in targets if not (target.retired and self._waits(target))]
        found = [*(self._planned(targets) if targets else ()), *refused]
        if reports:
            found += parts.order_pipeline.sync(parts.selection(), reports, deliver=False)
        return [
            outcome if outcome.run is None else replace(outcome, run=parts.made_due(outcome.run))
            for outcome in found
        ]

    def _warn_of_ids(self, lists: Sequence[Target]) -> None:
        """Look at the customers' ids once, before a first sync: mostly nothing else reads them."""
        from audience_sync.checking import doubt_of_source  # noqa: PLC0415 - the same

        parts = self.parts
        known = any(parts.ledger.last_run(one.audience, one.destination) for one in lists)
        if known or not lists or parts.project.decisions is not None:
            return
        with suppress(AudienceSyncError):  # whatever is wrong, the plan says it
            doubt = doubt_of_source(parts.project)
            if doubt is not None:
                _log.warning("%s", parts.project.located(doubt))

    def _planned(self, targets: Sequence[Target]) -> list[Outcome]:
        parts = self.parts
        self._warn_of_ids(targets)
        if parts.sharing:
            return parts.fanout.plan(parts.selection(), targets)
        return parts.pipeline.sync(parts.selection(), targets, deliver=False)

    def _waits(self, target: Target) -> bool:
        """Whether a person was asked to approve a list's end not long ago."""
        last = self.parts.ledger.last_run(target.audience, target.destination)
        if last is None or last.state is not RunState.HELD:
            return False
        return self.parts.now() - last.planned_at < _ASK_AGAIN

    def _as_it_is_now(self, outcome: Outcome) -> Outcome:
        """A partner may have given its final answer since the delivery."""
        if outcome.run is None or outcome.run.state is not RunState.DELIVERED:
            return outcome
        return replace(outcome, run=self.parts.ledger.run(outcome.run.id))

    def _deliver_withdrawals(self) -> None:
        """Bring what is open as far as it goes now, where anything is."""
        if self.parts.ledger.withdrawal_deliveries(only_open=True):
            self.parts.withdrawals.deliver()


def _in_order(outcomes: Sequence[Outcome], targets: Sequence[Target]) -> list[Outcome]:
    """As the project names the lists, those of one audience together."""
    places = {(one.audience, one.destination): at for at, one in enumerate(targets)}
    return sorted(outcomes, key=lambda one: places[one.audience, one.destination])
