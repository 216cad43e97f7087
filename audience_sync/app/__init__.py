"""A project, open: what a person or the clock may ask of it, each by the part that answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from audience_sync.app.aims import Aims
from audience_sync.app.checks import Checks, Finding
from audience_sync.app.parts import SCHEDULE, Parts, operator
from audience_sync.app.remedies import Remedies
from audience_sync.app.rounds import Rounds
from audience_sync.app.state import sign_log
from audience_sync.app.syncs import Syncs
from audience_sync.app.watching import Watching
from audience_sync.ledger.records.runs import Run
from audience_sync.plugins import installed_connectors
from audience_sync.project import load_project
from audience_sync.runs.progress import Progress, Silent
from audience_sync.settings import environment, load_settings
from audience_sync.stopping import listen_alone

if TYPE_CHECKING:
    from audience_sync.purging import Purged
    from audience_sync.runs.flight import Flight
    from audience_sync.runs.outcome import Outcome

__all__ = ["SCHEDULE", "App", "Finding", "operator"]


class App(Parts):
    """A project, ready to run. Parts are made when they are first needed."""

    @classmethod
    def open(
        cls,
        project: Path | None = None,
        progress: Progress | None = None,
        *,
        sharing: bool = False,
    ) -> Self:
        """The project named, or the one that the settings name."""
        listen_alone()
        settings = load_settings(project=project)
        installed = installed_connectors()
        folder = settings.project.parent
        found = installed.connectors
        loaded = load_project(settings.project, found, environment(folder), found.why)
        return cls(settings, installed, loaded, progress or Silent(), sharing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @cached_property
    def syncs(self) -> Syncs:
        """Brings lists up to date."""
        return Syncs(self, Aims(self), self.watching)

    @cached_property
    def watching(self) -> Watching:
        """Looks at what was sent."""
        return Watching(self, Aims(self))

    @cached_property
    def rounds(self) -> Rounds:
        """Does what is due."""
        return Rounds(self, self.syncs, self.watching)

    @cached_property
    def remedies(self) -> Remedies:
        """Does what a person decides about one run or list."""
        return Remedies(self)

    @cached_property
    def checks(self) -> Checks:
        """Looks at what a sync needs."""
        return Checks(self)

    def sync(
        self,
        audiences: Sequence[str] = (),
        destination: str | None = None,
        *,
        deliver: bool = True,
        keep: bool = True,
        force: bool = False,
    ) -> list[Outcome]:
        """See `Syncs.sync`."""
        return self.syncs.sync(audiences, destination, deliver=deliver, keep=keep, force=force)

    def plan_for_later(
        self, audiences: Sequence[str] = (), destination: str | None = None
    ) -> list[Outcome]:
        """See `Syncs.plan_for_later`."""
        return self.syncs.plan_for_later(audiences, destination)

    def read_statistics(self, run: Run) -> None:
        """See `Watching.read_statistics`."""
        self.watching.read_statistics(run)

    def ask_partners(self) -> list[Outcome]:
        """See `Watching.ask_partners`."""
        return self.watching.ask_partners()

    def canaries(self) -> list[Flight]:
        """See `Watching.canaries`."""
        return self.watching.canaries()

    def warn_of_canaries(self) -> None:
        """See `Watching.warn_of_canaries`."""
        self.watching.warn_of_canaries()

    def sign_log(self) -> None:
        """See `state.sign_log`."""
        sign_log(self.ledger, lambda: self.signer)

    def plan_scheduled(self, audiences: Sequence[str]) -> list[Outcome]:
        """See `Rounds.plan_scheduled`."""
        return self.rounds.plan_scheduled(audiences)

    def overdue(self) -> list[list[str]]:
        """See `Rounds.overdue`."""
        return self.rounds.overdue()

    def go_on(self, run_id: str) -> Run | None:
        """See `Rounds.go_on`."""
        return self.rounds.go_on(run_id)

    def sweep(self) -> list[Run]:
        """See `Rounds.sweep`."""
        return self.rounds.sweep()

    def purge(self, *, dry: bool = False) -> list[Purged]:
        """See `Rounds.purge`."""
        return self.rounds.purge(dry=dry)

    def purge_if_due(self) -> list[Purged]:
        """See `Rounds.purge_if_due`."""
        return self.rounds.purge_if_due()

    def cancel(self, run: Run, reason: str | None = None) -> Run:
        """See `Remedies.cancel`."""
        return self.remedies.cancel(run, reason)

    def resume(self, run: Run) -> Run:
        """See `Remedies.resume`."""
        return self.remedies.resume(run)

    def forget(self, audience: str, destination: str) -> None:
        """See `Remedies.forget`."""
        self.remedies.forget(audience, destination)

    def settle_orders(self, run: Run, *, arrived: bool) -> int:
        """See `Remedies.settle_orders`."""
        return self.remedies.settle_orders(run, arrived=arrived)

    def check(self, destination: str | None = None) -> list[Finding]:
        """See `Checks.findings`."""
        return self.checks.findings(destination)

    def warnings(self, audience: str | None = None) -> list[str]:
        """See `Checks.warnings`."""
        return self.checks.warnings(audience)
