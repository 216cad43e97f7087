"""Which audiences are due by their schedules: each due time is served once, whoever asks.

Messages are only asked-for looks at this calendar. Several due times that were missed count once,
as the last of them; a due time that failed is tried again until the next one takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from audience_sync.cron import last_due, next_due
from audience_sync.errors import AudienceSyncError, BusyError, ConfigurationError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Lease, Served
from audience_sync.project.model import Scheduled
from audience_sync.runs.leases import LEASE_SECONDS, Held
from audience_sync.stopping import StoppedError

LATE = timedelta(minutes=10)  # by which whoever serves may be behind
RETRY_AFTER = timedelta(minutes=15)
_LEASE = "schedule "  # a blank, which no name of a list has
_MOMENT = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Serving:
    """The due times that a block serves, and what it notes of each audience."""

    due: Mapping[str, datetime]
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Asks and tells the ledger; every change is made under a lease (L7)."""

    ledger: Ledger
    holder: str
    alive: Callable[[str], bool]
    now: Callable[[], datetime]

    def meet(self, audiences: Iterable[Scheduled]) -> None:
        """Take note of schedules not seen before, or changed: what was due has passed.

        An audience that was synced before is due from its last run on.
        """
        for audience in audiences:
            if audience.schedule is None or self._known(audience) is not None:
                continue
            with self._holding([audience]) as held:
                if self._known(audience) is None and audience.name in held:
                    self.ledger.save_served(self._first(audience), held[audience.name])

    def unserved(self, audiences: Iterable[Scheduled]) -> list[Scheduled]:
        """The audiences with a due time that nobody served and nobody serves."""
        busy = self._busy()
        return [
            audience
            for audience in audiences
            if audience.schedule is not None
            and f"{_LEASE}{audience.name}" not in busy
            and self._due(audience, self._known(audience)) is not None
        ]

    def late_since(self, audience: Scheduled) -> datetime | None:
        """The first due time that nobody served and nobody serves, when that is a while ago.

        Whoever synced by hand in the meantime was not late; a failure waits for its next attempt.
        """
        if audience.schedule is None or f"{_LEASE}{audience.name}" in self._busy():
            return None
        known = self._known(audience)
        newest = next(iter(self.ledger.runs(audience=audience.name, limit=1)), None)
        done = [known.due_at] if known is not None else []
        done += [newest.planned_at] if newest is not None else []
        soonest = [known.retry_at] if known is not None and known.retry_at is not None else []
        if not done:
            return None
        due = next_due(audience.schedule, audience.timezone, max(done))
        return due if max([due, *soonest]) + LATE < self.now() else None

    def _busy(self) -> set[str]:
        held = self.ledger.leases_held(_LEASE)
        return {lease.name for lease in held if self.alive(lease.holder)}

    @contextmanager
    def serving(self, audiences: Iterable[Scheduled]) -> Iterator[Serving]:
        """Serve the due times that are still to be served; marked when the block has ended.

        When it fails they are tried again later, but where only a person can help.
        """
        wanted = [audience for audience in audiences if audience.schedule is not None]
        with self._holding(wanted) as held:
            found = {
                audience.name: (audience, due)
                for audience in wanted
                if audience.name in held
                and (due := self._due(audience, self._known(audience) or self._before(audience)))
            }
            serving = Serving({name: due for name, (_, due) in found.items()})
            try:
                yield serving
            except StoppedError:
                raise  # the message is handed back
            except ConfigurationError as error:
                serving.notes.update(dict.fromkeys(found, str(error)))
                self._mark(found.values(), serving, held)
                raise
            except AudienceSyncError as error:
                for audience, due in found.values():
                    again = Served(
                        audience=audience.name,
                        rule=_rule(audience),
                        due_at=due - _MOMENT,
                        retry_at=self.now() + RETRY_AFTER,
                        note=f"{error}; it is tried again",
                    )
                    self.ledger.save_served(again, held[audience.name])
                raise
            self._mark(found.values(), serving, held)

    def failed_since(self, audience: Scheduled, why: str, *, again: bool) -> bool:
        """Note that what a due time had begun has failed; `again` lets it be due once more.

        False when nothing could be noted now, since somebody serves it.
        """
        with self._holding([audience]) as held:
            if audience.name not in held:
                return False
            served = self._known(audience)
            if served is not None and served.served_at is not None:
                noted = replace(served, note=why)
                if again:
                    noted = replace(
                        noted,
                        due_at=served.due_at - _MOMENT,
                        served_at=None,
                        retry_at=self.now() + RETRY_AFTER,
                    )
                self.ledger.save_served(noted, held[audience.name])
        return True

    def _mark(
        self,
        found: Iterable[tuple[Scheduled, datetime]],
        serving: Serving,
        held: Mapping[str, Lease],
    ) -> None:
        for audience, due in found:
            served = Served(
                audience=audience.name,
                rule=_rule(audience),
                due_at=due,
                served_at=self.now(),
                note=serving.notes.get(audience.name),
            )
            self.ledger.save_served(served, held[audience.name])

    def _due(self, audience: Scheduled, served: Served | None) -> datetime | None:
        """The last due time, unless it was served, or failed a moment ago."""
        if audience.schedule is None or served is None:
            return None
        last = last_due(audience.schedule, audience.timezone, self.now())
        waits = served.retry_at is not None and served.retry_at > self.now()
        # A due time after the one that failed takes its place at once.
        if last <= served.due_at or (waits and last <= served.due_at + _MOMENT):
            return None
        return last

    def _known(self, audience: Scheduled) -> Served | None:
        """What is known of the present schedule; another one's due times say nothing."""
        served = self.ledger.served(audience.name)
        return served if served is not None and served.rule == _rule(audience) else None

    def _first(self, audience: Scheduled) -> Served:
        newest = next(iter(self.ledger.runs(audience=audience.name, limit=1)), None)
        changed = self.ledger.served(audience.name) is not None
        since = self.now() if newest is None or changed else newest.planned_at
        return replace(self._before(audience), due_at=since)

    def _before(self, audience: Scheduled) -> Served:
        """As if nothing was served: whoever asks knows that the audience is due."""
        return Served(
            audience=audience.name,
            rule=_rule(audience),
            due_at=datetime.min.replace(tzinfo=self.now().tzinfo),
        )

    @contextmanager
    def _holding(self, audiences: Iterable[Scheduled]) -> Iterator[Mapping[str, Lease]]:
        """The leases of those that nobody else serves just now, by audience."""
        leases = {}
        for audience in audiences:
            with suppress(BusyError):
                leases[audience.name] = self.ledger.take_lease(
                    f"{_LEASE}{audience.name}", self.holder, LEASE_SECONDS, alive=self.alive
                )
        with Held(self.ledger, {lease.name: lease for lease in leases.values()}):
            yield leases


def _rule(audience: Scheduled) -> str:
    return f"{audience.schedule} {audience.timezone}"
