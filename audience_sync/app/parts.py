"""The parts of an open project, made when they are first needed: a look at it costs little.

What brings the libraries of the data path is imported only where customers or lists are met.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from audience_sync.app import state
from audience_sync.app.links import Links
from audience_sync.errors import ConfigurationError
from audience_sync.holder import alive, this_process
from audience_sync.keys import FINGERPRINT_KEY
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Operation, Run, RunState
from audience_sync.plugins import Installed
from audience_sync.project import Project
from audience_sync.runs.progress import Progress, Silent
from audience_sync.settings import Settings
from audience_sync.signing import Signer

if TYPE_CHECKING:
    from audience_sync.assembly import Assembly
    from audience_sync.connector import Connector
    from audience_sync.discretion import Discretion
    from audience_sync.fanning import Fanout
    from audience_sync.membership.location import StateLocation
    from audience_sync.membership.sealed import Keyring
    from audience_sync.runs.calendar import Calendar
    from audience_sync.runs.link import Link
    from audience_sync.runs.sync import Pipeline
    from audience_sync.runs.targets import Selection, Target
    from audience_sync.runs.vault import Vault
    from audience_sync.withdrawing import Withdrawing

SCHEDULE = "schedule"  # planned a run when no person did


@dataclass(frozen=True)
class Parts:
    """A project and what belongs to it; `sharing` where other workers do parts of a sync."""

    settings: Settings
    installed: Installed
    project: Project
    progress: Progress = field(default_factory=Silent)
    sharing: bool = False
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def close(self) -> None:
        """Close what was opened."""
        if "links" in vars(self):
            self.links.close()
        if "ledger" in vars(self):
            self.ledger.close()

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, created where there is none."""
        return state.open_ledger(self.settings)

    @cached_property
    def location(self) -> StateLocation:
        """Where memberships and outboxes rest."""
        from audience_sync.membership.location import open_location  # noqa: PLC0415 - see above

        return open_location(self.settings.state_url)

    @cached_property
    def keyring_and_fingerprint_key(self) -> tuple[Keyring, bytes, bool]:
        """The state keys, the fingerprint key, and whether they were just made."""
        return state.keyring_and_fingerprint_key(self.settings)

    @cached_property
    def fingerprint_keys(self) -> tuple[bytes, ...]:
        """The fingerprint key, and the older ones, whose fingerprints are still recognised."""
        return self.keyring_and_fingerprint_key[1], *self.settings.keys()[0].older

    @property
    def order_key(self) -> bytes:
        """The fingerprint key that reported orders are known by."""
        from audience_sync.checking import order_key  # noqa: PLC0415 - see above

        keys, origin = self.fingerprint_keys, self.settings.keys_from(FINGERPRINT_KEY)
        return order_key(self.ledger, self.location, keys, keep=False, origin=origin)

    @cached_property
    def signer_and_made(self) -> tuple[Signer | None, bool]:
        """What signs the transfer log, and whether its key was just made; none was given: None."""
        return state.signer_and_made(self.settings)

    @property
    def signer(self) -> Signer:
        """What signs the transfer log; a ConfigurationError where no key was given."""
        found = self.signer_and_made[0]
        if found is None:
            raise ConfigurationError(
                "the transfer log cannot be signed: set AUDIENCE_SYNC_SIGNING_KEY, "
                "base64 of 32 bytes, since the state rests in object storage"
            )
        return found

    @property
    def connectors(self) -> Mapping[str, type[Connector[Any]]]:
        """The connectors that are installed, by name."""
        return self.installed.connectors

    @cached_property
    def links(self) -> Links:
        """The destinations that were used."""
        return Links(self.settings, self.installed, self.project, self._vault, self._accounts)

    def link(self, destination: str) -> Link:
        """The destination's connector, ready to use; one for all threads."""
        return self.links.to(destination)

    def _accounts(self, destination: str) -> set[str]:
        return self.ledger.accounts(destination)

    def _vault(self, destination: str) -> Vault:
        from audience_sync.runs.vault import Vault  # noqa: PLC0415 - few partners need it

        keyring, _, _ = self.keyring_and_fingerprint_key
        return Vault(
            destination=destination,
            ledger=self.ledger,
            location=self.location,
            keyring=keyring,
            holder=this_process(),
            alive=alive,
        )

    @property
    def planner(self) -> str:
        """Who plans: the person who gave a command, or the schedule that a worker follows."""
        return SCHEDULE if self.sharing else operator()

    @cached_property
    def pipeline(self) -> Pipeline:
        """Plans and delivers. The forms have been tested on their vectors before (L14)."""
        return self._assembly.lists()

    @cached_property
    def order_pipeline(self) -> Pipeline:
        """Plans and delivers reports of orders."""
        return self._assembly.orders(self.connectors)

    def pipeline_of(self, run: Run) -> Pipeline:
        """What plans and delivers runs of this sort."""
        reports = any(b.operation is Operation.REPORT for b in self.ledger.batches(run.id)[:1])
        return self.order_pipeline if reports else self.pipeline

    @property
    def _assembly(self) -> Assembly:
        from audience_sync.assembly import Assembly  # noqa: PLC0415 - see above
        from audience_sync.targeting import least_of  # noqa: PLC0415 - the same

        return Assembly(
            project=self.project,
            keyring=self.keyring_and_fingerprint_key[0],
            fingerprint_keys=self.fingerprint_keys,
            fingerprints_from=self.settings.keys_from(FINGERPRINT_KEY),
            ledger=self.ledger,
            location=self.location,
            progress=self.progress,
            link=self.link,
            now=self.now,
            planned_by=self.planner,
            least=lambda *named: least_of(self.project, self.connectors, *named),
        )

    @cached_property
    def fanout(self) -> Fanout:
        """What lets many workers share a sync."""
        from audience_sync.fanning import fanout_of  # noqa: PLC0415 - see above

        return fanout_of(self)

    @cached_property
    def withdrawals(self) -> Withdrawing:
        """What takes withdrawals in, delivers them and tells how far they are."""
        from audience_sync.withdrawing import withdrawing_of  # noqa: PLC0415 - see above

        _ = self.pipeline  # which proves forms and keys
        key = self.keyring_and_fingerprint_key[1]
        return withdrawing_of(self, self.selection(), self.location, key)

    @cached_property
    def calendar(self) -> Calendar:
        """What is due by the schedules, and was it served."""
        from audience_sync.runs.calendar import Calendar  # noqa: PLC0415 - see above

        return Calendar(ledger=self.ledger, holder=this_process(), alive=alive, now=self.now)

    @property
    def discretion(self) -> Discretion:
        """What of counts is shown to people."""
        from audience_sync.discretion import Discretion  # noqa: PLC0415 - see above

        return Discretion(self.project.report_threshold)

    def selection(self) -> Selection:
        """Which customers the project reads, and how it judges them."""
        from audience_sync.targeting import selection_of  # noqa: PLC0415 - see above

        return selection_of(self.project, self.installed.names)

    def retired(self) -> list[Target]:
        """The lists that the project no longer names, but that hold members."""
        from audience_sync.targeting import retired_of  # noqa: PLC0415 - see above

        return retired_of(self.project, self.connectors, self.ledger.remote_lists())

    def made_due(self, run: Run) -> Run:
        """A run that is to be delivered without a person's word, now or when its partner said."""
        if run.state not in (RunState.PLANNED, RunState.DELIVERING):
            return run
        if run.next_attempt_at is not None:  # the partner asked us to wait
            return run
        return self.ledger.change_run(run.id, next_attempt_at=self.now())


def operator() -> str:
    """Who gave the command, for the transfer log: the login, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
