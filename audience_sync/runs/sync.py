"""The whole line for many lists: plan them together, deliver each, go on when one fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from audience_sync.errors import AudienceSyncError, BusyError, ConfigurationError
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.runs.going_on import WAITING, GoingOn, outcome_of
from audience_sync.runs.leases import Held
from audience_sync.runs.outcome import Outcome
from audience_sync.runs.targets import Selection, Target
from audience_sync.runs.threads import Threads, result


@dataclass(frozen=True, kw_only=True)
class Pipeline(GoingOn):
    """Plans many lists together and delivers them; see `GoingOn` for one run on its own."""

    def sync(
        self,
        selection: Selection,
        targets: Sequence[Target],
        *,
        deliver: bool = True,
        keep: bool = True,
        forced_by: str | None = None,
    ) -> list[Outcome]:
        """One outcome a target. Lists that another run works on are left out, with a BusyError.

        With `deliver` false runs are only planned; with `keep` false not even that. `forced_by`
        names the person who sends what a guard would hold.
        """
        outcomes: dict[str, Outcome] = {}
        with self._holding(targets, outcomes) as held:
            free = [target for target in targets if target.name not in outcomes]
            older = self._waiting(free) if keep else {}
            if keep:
                free = [
                    target for target in free if self.clear(target, held, outcomes, deliver=deliver)
                ]
            if free:
                planned = self.planner.plan(selection, free, held, keep=keep)
                outcomes |= {target.name: _planned(target, planned[target.name]) for target in free}
            if deliver and keep:
                self._deliver_all(outcomes, held, forced_by)
        return [
            replace(outcomes[target.name], replaced=self._cancelled(older.get(target.name, ())))
            for target in targets
        ]

    def _waiting(self, targets: Sequence[Target]) -> dict[str, list[str]]:
        """The plans that nobody has sent yet, by list."""
        return {
            target.name: [
                run.id
                for run in self.ledger.runs(
                    audience=target.audience, destination=target.destination, states=WAITING
                )
            ]
            for target in targets
        }

    def _cancelled(self, runs: Sequence[str]) -> tuple[str, ...]:
        return tuple(run for run in runs if self.ledger.run(run).state is RunState.CANCELLED)

    def clear(
        self, target: Target, held: Held, outcomes: dict[str, Outcome], *, deliver: bool
    ) -> bool:
        """Finish what was interrupted and drop older plans; whether the list can be planned."""
        states = [*WAITING, RunState.DELIVERING]
        found = self.ledger.runs(
            audience=target.audience, destination=target.destination, states=states
        )
        for run in found:
            if run.state is RunState.DELIVERING:
                try:
                    self._finish(run, held, deliver=deliver)
                except AudienceSyncError as error:
                    outcomes[target.name] = outcome_of(self.ledger.run(run.id), error)
                    return False
            else:
                reason = "a newer plan took its place"
                self.deliverer.give_up(run, RunState.CANCELLED, reason, held)
        return True

    def _finish(self, run: Run, held: Held, *, deliver: bool) -> None:
        if not deliver:  # planning sends nothing, not even what was begun
            raise ConfigurationError(
                f"the delivery of run {run.id} was interrupted; finish it with "
                f"`audience-sync resume {run.id}` before you plan anew"
            )
        self.deliver(run, held)

    def _deliver_all(self, outcomes: dict[str, Outcome], held: Held, forced_by: str | None) -> None:
        """Destinations in parallel, so that a slow partner keeps nobody waiting."""
        by_destination: dict[str, list[Run]] = {}
        for outcome in outcomes.values():
            run = outcome.run
            if run is None or outcome.error is not None:
                continue
            if run.state is RunState.HELD and forced_by is not None:
                run = self.note(run, Event.FORCED, forced_by, held)
            if run.state is RunState.PLANNED or (run.state is RunState.HELD and forced_by):
                by_destination.setdefault(run.destination, []).append(run)

        def deliver(runs: list[Run]) -> list[Outcome]:
            return [self._try(run, held) for run in runs]

        if by_destination:
            with Threads(len(by_destination)) as threads:
                try:
                    begun = [threads.submit(deliver, runs) for runs in by_destination.values()]
                    for delivered in begun:
                        for outcome in result(delivered):
                            outcomes[f"{outcome.audience}/{outcome.destination}"] = outcome
                except BaseException:
                    held.stop()  # the block waits for requests under way, no more are sent
                    raise

    def _try(self, run: Run, held: Held) -> Outcome:
        try:
            held.renew(run.lease_name)
            return outcome_of(self.deliver(run, held))
        except AudienceSyncError as error:
            return outcome_of(self.ledger.run(run.id), error)

    @contextmanager
    def _holding(self, targets: Sequence[Target], outcomes: dict[str, Outcome]) -> Iterator[Held]:
        leases = {}
        for target in targets:
            try:
                leases[target.name] = self.take(target.name)
            except BusyError as error:
                outcomes[target.name] = Outcome(
                    audience=target.audience, destination=target.destination, error=error
                )
        with Held(self.ledger, leases) as held:
            yield held


def _planned(target: Target, found: Run | AudienceSyncError) -> Outcome:
    run, error = (None, found) if isinstance(found, AudienceSyncError) else (found, None)
    return Outcome(audience=target.audience, destination=target.destination, run=run, error=error)
