"""What happens when a partner refuses to take people off a list: as the project file decides.

Some partners refuse a removal that leaves too few on a list. The person is never silently kept:
the list is emptied and built anew by the next sync, or deleted, or somebody is told at once. A
list that the partner does not empty is deleted where it can be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from audience_sync.connector import Connector
from audience_sync.errors import AudienceSyncError, RefusedError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import RemoteList
from audience_sync.membership.held import Membership
from audience_sync.runs.announcing import OPERATION
from audience_sync.runs.faults import faults_of
from audience_sync.runs.forget import cure
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.removal import Removed, Remover
from audience_sync.runs.taken_away import BY_DELETING, EMPTYING

if TYPE_CHECKING:
    from audience_sync.project import Project

# In a row of what a partner had taken; then it goes on as where it takes nothing. After as many
# more it is not asked to empty the list again, if it can delete it.
REFUSALS = 3

_log = logging.getLogger(__name__)


class OnRefusedRemoval(StrEnum):
    """What to do with a list whose partner refuses that people are taken off who must leave."""

    EMPTY_AND_REBUILD = "empty_and_rebuild"
    DELETE = "delete"
    ALERT = "alert"


@dataclass(frozen=True, kw_only=True)
class Escalation:
    """Goes on where a removal was refused, under the leases of the one who was refused."""

    ledger: Ledger
    policy: Callable[[str], OnRefusedRemoval]  # of a destination
    now: Callable[[], datetime] = field(repr=False)

    def decided(self, remote: RemoteList) -> bool:
        """Whether the project file decides what becomes of a list, and not a person."""
        return self.policy(remote.destination) is not OnRefusedRemoval.ALERT and not remote.adopted

    def escalate(
        self,
        remover: Remover,
        link: Link,
        remote: RemoteList,
        membership: Membership,
        error: RefusedError,
        held: Held,
        lease: str,
        *,
        whom: str = "people who withdrew",
        empties: bool = True,
    ) -> Removed:
        """Take everybody off, or the list away; raises where nothing could be done.

        A list that can be deleted is not emptied where it is known that this is of no use.
        """
        policy = self.policy(remote.destination)
        where = f"{remote.audience} at {remote.destination}"
        _log.error("The partner keeps %s on %s (%s): %s", whom, where, error, policy)
        if not self.decided(remote):
            raise RefusedError(
                f"the partner refuses to take {whom} off the list of {where}: "
                f"{error.message}; delete the list there, or set on_refused_removal; "
                f"{cure(remote.audience, remote.destination)}",
                error.status,
                error.code,
            )
        deletes = type(link.connector).delete_audience is not Connector.delete_audience
        if policy is OnRefusedRemoval.EMPTY_AND_REBUILD and (empties or not deletes):
            try:
                return self._emptied(remover, link, remote, membership, held, lease)
            except RefusedError as refusal:  # a list that may not shrink may not be empty either
                if not deletes:
                    raise
                _log.error("The partner does not empty %s (%s): it is deleted", where, refusal)
        return self._deleted(remover, link, remote, held, lease)

    def _emptied(
        self,
        remover: Remover,
        link: Link,
        remote: RemoteList,
        membership: Membership,
        held: Held,
        lease: str,
    ) -> Removed:
        """Everybody leaves, who did not all withdraw; the next sync brings back who is wanted."""
        partitions = membership.manifest.partitions
        parts = [membership.read(partition, partitions) for partition in range(partitions)]
        alive = [part.take(part.alive) for part in parts]
        off = [part for part in alive if len(part)]
        operation = EMPTYING if remover.operation == OPERATION else remover.operation
        everybody = replace(remover, announces=False, operation=operation)
        removed = everybody.remove(link, remote, off, held, lease)
        return Removed(removed.run, removed.pending, removed.stayed, removed.wait, emptied=True)

    def _deleted(
        self, remover: Remover, link: Link, remote: RemoteList, held: Held, lease: str
    ) -> Removed:
        """The list goes with all on it; the next sync makes another."""
        line = self._intent(remover, link, remote)
        self.ledger.record([line], (), held[lease])
        with link.recording() as exchange:
            note, accepted = None, remote.members
            try:
                with faults_of(link.connector.name):
                    link.connector.delete_audience(remote.remote_id or "")
            except AudienceSyncError as error:
                note, accepted = f"failed: {error}", 0
                raise
            finally:
                ended = replace(
                    line,
                    event=Event.OUTCOME,
                    accepted=accepted,
                    unattributed=line.sent - accepted,
                    status=exchange.status,
                    code=exchange.code,
                    body_sha256=exchange.body_sha256,
                    finished_at=self.now(),
                    note=note,
                )
                self.ledger.record([ended], (), held[lease])
        return Removed(line.run, emptied=True, gone=True)

    def _intent(self, remover: Remover, link: Link, remote: RemoteList) -> TransferLine:
        recipient = link.connector.recipient
        return TransferLine(
            event=Event.INTENT,
            run=remover.name,
            audience=remote.audience,
            destination=remote.destination,
            recipient=recipient.name,
            recipient_country=recipient.country,
            purpose=link.purpose,
            operation=f"{remover.operation} {BY_DELETING}",
            sent=remote.members,
            reference=remote.remote_id,
            attempts=1,
            started_at=self.now(),
        )


def escalation_of(project: Project, ledger: Ledger, now: Callable[[], datetime]) -> Escalation:
    """What is done where a partner refuses a removal, by each destination's own word."""
    return Escalation(ledger=ledger, policy=lambda name: policy_of(project, name), now=now)


def policy_of(project: Project, destination: str) -> OnRefusedRemoval:
    """What is done where this destination refuses a removal."""
    found = project.destinations.get(destination)
    own = None if found is None else found.on_refused_removal
    return OnRefusedRemoval(own or project.withdrawals.on_refused_removal)
