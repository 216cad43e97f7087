"""The list that a run is delivered to: known, adopted, or made once its intention is on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from audience_sync.connector import AudienceRequest
from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import RemoteList, Run
from audience_sync.membership.held import Manifest
from audience_sync.runs.faults import faults_of
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link


@dataclass(frozen=True)
class Lists:
    """Lists at partners; of ours there is one for each audience and destination (L15)."""

    ledger: Ledger
    now: Callable[[], datetime]

    def ensure(self, run: Run, link: Link, adopted: str | None, held: Held) -> str:
        """The remote id of a run's list; `adopted` is the one that the project names."""
        remote = self.ledger.remote_list(run.audience, run.destination)
        known = self._known(remote, run, adopted)
        if known is not None and (adopted is not None or remote.adopted):
            return known
        if known is not None:
            with faults_of(link.connector.name):
                return link.connector.complete_audience(known, _request(run, link))
        return self._new(remote, run, link, adopted, held)

    def arrived(self, remote: RemoteList, run: Run) -> bool:
        """Whether anybody is, or may be, on the list that we know."""
        tried = any(batch.attempts for batch in self.ledger.batches(run.id))
        return tried or bool(Manifest.of(remote.manifest).files)

    def save(self, remote: RemoteList, generation: int, run: Run, held: Held) -> None:
        """Write what is known of a list down, under the run's lease."""
        lease = held[run.lease_name]
        self.ledger.save_remote_list(remote, expect_generation=generation, lease=lease)

    def _known(self, remote: RemoteList, run: Run, adopted: str | None) -> str | None:
        known = remote.remote_id
        chosen = adopted is not None or remote.adopted
        if chosen and known != adopted and not self.arrived(remote, run):
            return None  # the project named a list wrongly, and has nobody on it
        if adopted is not None and known not in (None, adopted):
            raise ConfigurationError(
                f"{run.audience} was delivered to another list at {run.destination} before; "
                "name the audience anew to deliver it to a list of your choice"
            )
        return known

    def _new(
        self, remote: RemoteList, run: Run, link: Link, adopted: str | None, held: Held
    ) -> str:
        """Adopt or make a list; a lost answer makes no twin, since its marker is on record."""
        intended = replace(
            remote,
            marker=link.marker(run.audience),
            creation_intended_at=self.now(),
            adopted=adopted is not None,
            account=link.account or None,
            remote_id=adopted,
        )
        self.save(intended, remote.generation, run, held)
        if adopted is not None:
            return adopted
        with faults_of(link.connector.name):
            remote_id = link.connector.ensure_audience(_request(run, link))
        self.save(replace(intended, remote_id=remote_id), remote.generation, run, held)
        return remote_id


def _request(run: Run, link: Link) -> AudienceRequest:
    return AudienceRequest(
        name=f"{link.project} {run.audience}",
        title=run.audience,
        marker=link.marker(run.audience),
        kinds=tuple(Kind(kind) for kind in run.forms),
    )
