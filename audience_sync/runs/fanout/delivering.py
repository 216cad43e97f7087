"""Delivers one run in pieces: batches by range, removals first, then the run is closed.

The run was begun and its list ensured before the job is written, under the list's lease, which
the job then holds. What a piece writes is fenced by the lease of the piece, so a worker that was
given up on writes nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from audience_sync.connector import Connector
from audience_sync.errors import AudienceSyncError, BusyError, RefusedError, StateError
from audience_sync.ledger.jobs import piece_lease
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Batch, Operation, Run, RunState
from audience_sync.ledger.records.work import Job, JobState, Lease, Piece
from audience_sync.runs.deliver import Deliverer
from audience_sync.runs.fanout.coordinator import Coordinator
from audience_sync.runs.fanout.kinds import Next, PieceRef
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.sending import OPEN
from audience_sync.runs.whole import starts_afresh

KIND = "deliver"
REMOVE, FIRST, ADD, CLOSE = "remove", "first", "add", "close"
_FOLLOWING = {REMOVE: FIRST, FIRST: ADD}

UPLOADS = 4  # at a time in one piece; more pieces make more, as far as the partner allows
BATCHES = 16  # in a piece


@dataclass(frozen=True, kw_only=True)
class DeliveryStages:
    """The kind of job that delivers a run."""

    sends: ClassVar[bool] = True

    ledger: Ledger
    deliverer: Deliverer
    link: Callable[[str], Link]

    def worth_while(self, run: Run, link: Link) -> bool:
        """Whether several workers could deliver a run faster than one, and may.

        A connector with work before the first or after the last upload does it in one process. A
        run whose membership is settled, or whose removal was refused, sends nothing more; it ends.
        """
        alone = type(link.connector)
        if alone.open is not Connector.open or alone.close is not Connector.close:
            return False
        owed = self.deliverer.owed
        if self.deliverer.settled(run) or owed.refused(run) or owed.refused_late(run):
            return False
        return len(self._open(run.id)) > BATCHES

    def begin(
        self, coordinator: Coordinator, run: Run, lease: Lease, adopted: str | None
    ) -> list[PieceRef]:
        """Begin a run under the lease of its list, which the job keeps; pieces to be woken.

        Raises what stops it at the beginning, as a delivery in one process does; the lease is
        the caller's then.
        """
        job = holder_of_run(run.id)
        # Why it waited is over; with a reason and without a time nobody would go on with it.
        run = self.ledger.change_run(run.id, reason=None)
        with Held(self.ledger, {}, borrowed={lease.name: lease}) as held:
            begun = self.deliverer.begin(run, held)
            link = self.link(run.destination)
            try:
                self.deliverer.outbox(begun)
                remote_id = self.deliverer.ensure_list(begun, link, adopted, held)
            except RefusedError as error:
                self.deliverer.give_up(begun, RunState.FAILED, str(error), held)
                raise
            except (BusyError, StateError):
                raise
            except AudienceSyncError as error:
                self.deliverer.postpone(begun, error)
                raise
        now = self.deliverer.now()
        cut = self._cut(run, link)
        written = Job(
            id=f"{job}-{lease.token}",
            kind=KIND,
            stage=REMOVE,
            spec={"run": run.id, "remote_id": remote_id, "pieces": cut, "width": _width(link)},
            leases={lease.name: lease.token},
            created_at=now,
            changed_at=now,
        )
        wake = coordinator.begin(written, len(cut[REMOVE]))
        return list(wake) or list(coordinator.work(PieceRef(written.id, REMOVE, 0)).wake)

    def _cut(self, run: Run, link: Link) -> dict[str, list[list[int]]]:
        """The first and the last position of each piece by stage; sessions are never cut."""
        size = link.connector.limits.batches_per_session
        each = max(1, BATCHES // size) * size
        remote = self.ledger.remote_list(run.audience, run.destination)
        alone = int(starts_afresh(remote, self.ledger.batches(run.id)))

        def parts(waiting: Sequence[int], most: int) -> list[list[int]]:
            cut = [waiting[at : at + most] for at in range(0, len(waiting), most)]
            return [[part[0], part[-1]] for part in cut]

        removals, additions = (
            [batch.position for batch in self._open(run.id) if batch.operation is operation]
            for operation in (Operation.REMOVE, Operation.ADD)
        )
        return {
            REMOVE: parts(removals, each),
            FIRST: parts(additions[:alone], 1),  # a partner may clear the list with it
            ADD: parts(additions[alone:], each),
        }

    def _open(self, run: str) -> Sequence[Batch]:
        return [batch for batch in self.ledger.batches(run) if batch.state in OPEN]

    def do(self, job: Job, piece: Piece, held: Held) -> Mapping[str, Any]:
        """Send the batches of a piece, or close the run."""
        run = self.ledger.run(job.spec["run"])
        if run.state is not RunState.DELIVERING:
            return {}  # who closed it died before that was on record
        link = self.link(run.destination)
        remote_id: str = job.spec["remote_id"]
        if piece.stage == CLOSE:
            sent = [one for stage in (REMOVE, FIRST, ADD) for one in self._pieces(job, stage)]
            waits = [one.result["wait"] for one in sent if one.result.get("wait") is not None]
            self.deliverer.close(run, link, remote_id, max(waits, default=None), held)
            return {}
        own = piece_lease(job.id, piece.stage, piece.number)
        outbox = self.deliverer.outbox(run)
        transfer = self.deliverer.transfer(run, link, remote_id, outbox, held, lease=own)
        first, last = job.spec["pieces"][piece.stage][piece.number]
        return {"wait": self.deliverer.send_part(transfer, range(first, last + 1), UPLOADS)}

    def next(self, job: Job) -> Next | None:
        """Additions after the last removal, the end after the last addition.

        The first batch to a list that holds nobody we know goes before all others.
        """
        following = _FOLLOWING.get(job.stage)
        if following is not None:
            return Next(following, len(job.spec["pieces"][following]), {})
        return Next(CLOSE, 1, {}) if job.stage == ADD else None

    def _pieces(self, job: Job, stage: str) -> Sequence[Piece]:
        return self.ledger.pieces(job.id, stage)

    def finished(self, job: Job) -> Mapping[str, Any]:  # noqa: ARG002 - the run says it all
        """The run has ended by then."""
        return {}

    def gave_up(self, job: Job, error: AudienceSyncError, held: Held) -> None:
        """A refusal or a person's word ends the run; anything else leaves it to be gone on with."""
        run = self.ledger.run(job.spec["run"])
        if isinstance(error, BusyError) or run.state is not RunState.DELIVERING:
            return  # whoever took the list over goes on with the run
        if isinstance(error, RefusedError):
            self._refused(run, error, held)
        elif isinstance(error, CancelledError):
            self.deliverer.give_up(run, RunState.CANCELLED, str(error), held)
        else:
            self.deliverer.postpone(run, error)

    def _refused(self, run: Run, error: RefusedError, held: Held) -> None:
        try:
            self.deliverer.refused(run, self.link(run.destination), error, held)
        except (BusyError, StateError):
            raise
        except AudienceSyncError as stopped:  # the partner is away: it is gone on with later
            self.deliverer.postpone(run, stopped)


class CancelledError(AudienceSyncError):
    """A person ended it."""


def holder_of_run(run: str) -> str:
    """The beginning of the names of the jobs that deliver a run."""
    return f"d{run[1:]}"


def job_of(ledger: Ledger, run: str) -> Job | None:
    """The open job that delivers a run, if there is one."""
    found = ledger.jobs((JobState.OPEN,), prefix=f"{holder_of_run(run)}-")
    return found[0] if found else None


def _width(link: Link) -> int:
    """Pieces at a time that keep the partner busy, and one more for a worker that dies.

    Others would only wait for a place, where they could work for another partner.
    """
    return -(-link.connector.limits.parallel_uploads // UPLOADS) + 1
