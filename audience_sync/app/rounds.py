"""What is done by the clock, with no person asking: schedules, due runs, sweeps, purges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audience_sync.app.parts import Parts
from audience_sync.app.state import sign_log
from audience_sync.app.syncs import Syncs
from audience_sync.app.watching import Watching
from audience_sync.holder import alive, this_process
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.stopping import StoppedError

if TYPE_CHECKING:
    from audience_sync.purging import Purged
    from audience_sync.runs.outcome import Outcome


@dataclass(frozen=True)
class Rounds:
    """Does what is due; told twice, it does it once."""

    parts: Parts
    syncs: Syncs
    watching: Watching

    def plan_scheduled(self, audiences: Sequence[str]) -> list[Outcome]:
        """Plan the audiences whose due time nobody served yet; the others are left alone."""
        known = self.parts.project.scheduled
        found = [known[name] for name in audiences if name in known]
        with self.parts.calendar.serving(found) as serving:
            outcomes = self.syncs.plan_for_later(list(serving.due)) if serving.due else []
            for outcome in outcomes:
                note = _left_out(outcome)
                if note is not None:
                    before = serving.notes.get(outcome.audience)
                    serving.notes[outcome.audience] = f"{before}; {note}" if before else note
        return outcomes

    def overdue(self) -> list[list[str]]:
        """Audiences whose due time nobody serves, those of one schedule together."""
        from audience_sync.runs.fanout.again import Again  # noqa: PLC0415 - keeps status light

        calendar, known = self.parts.calendar, self.parts.project.scheduled
        calendar.meet(known.values())
        Again(ledger=self.parts.ledger, calendar=calendar).look(known)
        together: dict[tuple[str | None, str], list[str]] = {}
        for audience in calendar.unserved(known.values()):
            rule = audience.schedule, str(audience.timezone)
            together.setdefault(rule, []).append(audience.name)
        return list(together.values())

    def go_on(self, run_id: str) -> Run | None:
        """Deliver or ask about a run that is due, however often told to; None when it is not."""
        parts = self.parts
        known = parts.ledger.run(run_id)
        shares = parts.sharing and known.state in (RunState.PLANNED, RunState.DELIVERING)
        if shares and parts.fanout.deliver(run_id):
            return None
        run = parts.pipeline_of(known).go_on(run_id)
        if run is not None:
            self.watching.read_statistics(run)
            self.watching.warn_of_canaries()
        return run

    def sweep(self) -> list[Run]:
        """Delete what dead processes left behind; the runs that are due."""
        from audience_sync.runs.due import due_runs  # noqa: PLC0415 - keeps status light
        from audience_sync.runs.sweep import note_sweep, sweep  # noqa: PLC0415 - the same

        parts = self.parts
        sweep(parts.ledger, parts.location, alive, parts.now())
        note_sweep(parts.ledger, this_process())
        sign_log(parts.ledger, lambda: parts.signer)
        return due_runs(parts.ledger, parts.now(), alive)

    def purge(self, *, dry: bool = False) -> list[Purged]:
        """Delete everything whose time is over, by the project's `retention:`."""
        from audience_sync.purging import Purge, note_purge  # noqa: PLC0415 - the same
        from audience_sync.runs.sweep import sweep  # noqa: PLC0415 - the same

        parts = self.parts
        if not dry:
            sweep(parts.ledger, parts.location, alive, parts.now())
            note_purge(parts.ledger, this_process())
        return Purge(
            project=parts.project,
            ledger=parts.ledger,
            location=parts.location,
            signer=parts.signer_and_made[0],
            cancel=lambda run, reason: parts.pipeline_of(run).cancel(run, reason),
            tidy_withdrawals=self._tidy_withdrawals,
            now=parts.now(),
            dry=dry,
        ).all()

    def _tidy_withdrawals(self) -> None:
        self.parts.withdrawals.merger.tidy()

    def purge_if_due(self) -> list[Purged]:
        """The same, once a day however often it is asked for."""
        from audience_sync.purging import is_due  # noqa: PLC0415 - the same

        return self.purge() if is_due(self.parts.ledger, self.parts.now()) else []


def _left_out(outcome: Outcome) -> str | None:
    """Why a scheduled list was not planned, for `status`; None when it was."""
    if isinstance(outcome.error, StoppedError):
        raise outcome.error
    if outcome.run is not None and outcome.run.state is RunState.DELIVERING:
        return f"{outcome.destination} was skipped: run {outcome.run.id} is still being delivered"
    if outcome.error is not None:
        return f"{outcome.destination} was skipped: {outcome.error}"
    return None
