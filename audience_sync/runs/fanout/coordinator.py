"""Does one piece of a job, and begins the next stage when it was the last of its stage (L6, L7).

A wake-up for a piece may be lost, come twice or come late. Whoever does a piece holds its lease;
what came of it is written once, with the lease as a fence; and the stages follow one another by
the ledger's count. What no wake-up came for is found by `stalled`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from audience_sync.customers.table import ChangedError
from audience_sync.errors import (
    AudienceSyncError,
    AwayError,
    BusyError,
    SourceError,
    StateError,
    TemporaryPartnerError,
    places,
)
from audience_sync.ledger.jobs import piece_lease
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Job, JobState, Lease, Piece
from audience_sync.runs.fanout.kinds import JobKind, PieceRef, Worked
from audience_sync.runs.leases import LEASE_SECONDS, Held
from audience_sync.stopping import StoppedError

_log = logging.getLogger(__name__)

WIDTH = 64  # pieces of a job that are awake at a time, so that no job has all the workers
TAKES = 5  # times that a piece is begun; one that ends its workers again and again ends its job
IN_FLIGHT = 120.0  # seconds that a request may be under way, with what is tried again at once
_TRY_AGAIN = 300.0  # seconds, where the partner named no time
_AWAY = 30.0  # seconds, where our own servers or the source's are away; of a source doubled
_ASKED = 5  # times that a source is asked again; the ledger is asked for ever
_ENDED_WORKERS = "a part of it ended its worker {} times; see the worker's log, then run it again"
_UNEXPECTED = "something unexpected stopped it ({}); the log tells where, please report it"
_OVERTAKEN = "another run took one of its lists over"


@dataclass(frozen=True, kw_only=True)
class Coordinator:
    """Does pieces of jobs of any kind."""

    ledger: Ledger
    kinds: Mapping[str, JobKind]
    holder: str
    alive: Callable[[str], bool]
    now: Callable[[], datetime] = field(repr=False)

    def begin(self, job: Job, pieces: int) -> list[PieceRef]:
        """Write a new job; its first pieces, to be woken. Each wakes another when it is done."""
        self.ledger.create_job(job, pieces)
        return _first(job, job.stage, pieces)

    def work(self, ref: PieceRef, *, at_once: bool = False) -> Worked:
        """Do a piece, if nobody does or did. BusyError when somebody works on it.

        A piece that waits is done `at_once` only where a person asks for it.
        """
        job = self.ledger.job(ref.job)
        if job.state is not JobState.OPEN or job.stage != ref.stage:
            return Worked()
        piece = self.ledger.piece(*ref)
        if (
            piece is None or piece.done
        ):  # perhaps whoever did the last one died before the next stage
            return self._after(job)
        if not at_once and piece.not_before is not None and piece.not_before > self.now():
            return Worked(again=(ref, piece.not_before))
        try:
            with self._holding(job, ref) as held:
                found = self.ledger.piece(*ref)  # as it is now that nobody else works on it
                return (
                    self._after(job) if found is None or found.done else self._do(job, piece, held)
                )
        except BusyError:
            if self._lost(job):
                return self.end(job, BusyError(_OVERTAKEN))
            raise

    def end(self, job: Job, error: AudienceSyncError, state: JobState = JobState.FAILED) -> Worked:
        """End a job before its end, unless it ended already."""
        at_work = [
            lease
            for lease in self.ledger.leases_held(f"piece {job.id}/")
            if lease.holder != self.holder
        ]
        if not self.ledger.end_job(job.id, state, str(error)):
            return Worked()
        with Held(self.ledger, {}, borrowed=self._leases(job)) as held:
            self.kinds[job.kind].gave_up(job, error, held)
        if at_work and self.kinds[job.kind].sends:
            # What they have under way may arrive still, and before anybody else's.
            with suppress(BusyError):
                for lease in self._leases(job).values():
                    self.ledger.renew_lease(lease, IN_FLIGHT)
        else:
            self._give_back(job)
        return Worked(ended=self.ledger.job(job.id))

    def stalled(self) -> tuple[list[PieceRef], list[Job]]:
        """Pieces that nobody works on, and jobs that ended here because their lists were taken.

        Keeps the leases of all open jobs alive: they wait for workers, not for each other.
        """
        found: list[PieceRef] = []
        ended: list[Job] = []
        busy = {one.name for one in self.ledger.leases_held("piece ") if self.alive(one.holder)}
        for job in self.ledger.jobs():
            if not self._renew(job):
                over = self.end(job, BusyError(_OVERTAKEN)).ended
                ended += [over] if over is not None else []
                continue
            open_pieces = [
                piece for piece in self.ledger.pieces(job.id, job.stage) if not piece.done
            ]
            refs = [
                PieceRef(job.id, job.stage, piece.number)
                for piece in open_pieces
                if piece.not_before is None or piece.not_before <= self.now()
            ]
            idle = [ref for ref in refs if piece_lease(*ref) not in busy]
            awake = len(open_pieces) - len(idle)  # at work, or until a time
            found += idle[: max(0, _width(job) - awake)]
            if not open_pieces:  # whoever finished the last piece died before the next stage
                found.append(PieceRef(job.id, job.stage, 0))
        return found, ended

    def _do(self, job: Job, piece: Piece, held: Held) -> Worked:
        ref = PieceRef(piece.job, piece.stage, piece.number)
        lease = held[piece_lease(*ref)]
        if lease.token - piece.attempts > TAKES:  # each time that it was handed back counts as none
            return self.end(job, StateError(_ENDED_WORKERS.format(TAKES)))
        try:
            result = self.kinds[job.kind].do(job, piece, held)
            self.ledger.finish_piece(piece, result, lease)
        except StoppedError:  # handed back in order, which is no worker's death
            self.ledger.postpone_piece(piece, until=None, note=None, lease=lease)
            raise
        except BusyError:
            raise
        except AudienceSyncError as error:
            wait = _wait(error, piece)
            if wait is None:
                return self.end(job, error)
            until = self.now() + timedelta(seconds=wait)
            self.ledger.postpone_piece(piece, until=until, note=str(error), lease=lease)
            return Worked(again=(ref, until))
        except Exception as error:  # noqa: BLE001 - its own words could hold anything: not told
            words = job.id, piece.stage, type(error).__name__, places(error)
            _log.error("Job %s stopped in %s with %s in %s", *words)
            return self.end(job, AudienceSyncError(_UNEXPECTED.format(type(error).__name__)))
        # Counted once more: two who finish together may each be told that the other did not.
        after = self._after(job)
        return after if after != Worked() else Worked(wake=self._another(job, piece))

    def _another(self, job: Job, piece: Piece) -> list[PieceRef]:
        """The piece that is woken in the place of one that is done."""
        found = self.ledger.piece(job.id, piece.stage, piece.number + _width(job))
        if found is None or found.done:
            return []
        return [PieceRef(job.id, piece.stage, found.number)]

    def _after(self, job: Job) -> Worked:
        """Begin the next stage, or end the job, once all pieces of this one are done."""
        if self.ledger.pieces_left(job.id, job.stage):
            return Worked()
        following = self.kinds[job.kind].next(job)
        if following is None:
            spec = self.kinds[job.kind].finished(job)
            if not self.ledger.end_job(job.id, JobState.DONE, **spec):
                return Worked()
            self._give_back(job)
            return Worked(ended=self.ledger.job(job.id))
        stage, pieces, spec = following
        if not self.ledger.advance_job(job.id, job.stage, stage, pieces, **spec):
            return Worked()
        if not pieces:
            return self._after(self.ledger.job(job.id))
        return Worked(wake=_first(job, stage, pieces))

    @contextmanager
    def _holding(self, job: Job, ref: PieceRef) -> Iterator[Held]:
        """The lease of the piece, with those of the job, which stay when the piece is done."""
        name = piece_lease(*ref)
        lease = self.ledger.take_lease(name, self.holder, LEASE_SECONDS, alive=self.alive)
        with Held(self.ledger, {name: lease}, borrowed=self._leases(job)) as held:
            yield held

    def _leases(self, job: Job) -> dict[str, Lease]:
        until = self.now() + timedelta(seconds=LEASE_SECONDS)
        return {
            name: Lease(name=name, holder=holder_of(job.id), token=token, expires_at=until)
            for name, token in job.leases.items()
        }

    def _renew(self, job: Job) -> bool:
        try:
            for lease in self._leases(job).values():
                self.ledger.renew_lease(lease, LEASE_SECONDS)
        except BusyError:
            return False
        return True

    def _lost(self, job: Job) -> bool:
        """Whether the job's own leases are another's; a piece's lease may be lost alone."""
        return self.ledger.job(job.id).state is JobState.OPEN and not self._renew(job)

    def _give_back(self, job: Job) -> None:
        for lease in self._leases(job).values():
            self.ledger.release_lease(lease)


def _width(job: Job) -> int:
    return int(job.spec.get("width", WIDTH))


def _first(job: Job, stage: str, pieces: int) -> list[PieceRef]:
    return [PieceRef(job.id, stage, number) for number in range(min(pieces, _width(job)))]


def _wait(error: AudienceSyncError, piece: Piece) -> float | None:
    """Seconds until a piece is tried again; None where that is of no use."""
    if isinstance(error, TemporaryPartnerError):
        return error.retry_after or _TRY_AGAIN
    if isinstance(error, AwayError):
        return _AWAY
    if isinstance(error, ChangedError):
        return None
    if isinstance(error, SourceError) and piece.attempts < _ASKED:
        return _AWAY * 2.0**piece.attempts
    return None


def holder_of(job: str) -> str:
    """Who holds the leases of a job, whichever worker is at it."""
    return f"job {job}"
