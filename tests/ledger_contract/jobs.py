"""What jobs and their pieces promise on every database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ledger_contract.builders import NOON, Clock, LedgerContract

from audience_sync.errors import BusyError, ConfigurationError
from audience_sync.ledger.jobs import piece_lease
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Job, JobState, Lease, Piece


def job(id: str = "j1", **changes: Any) -> Job:  # noqa: A002 - as in the record
    """A job that has just begun."""
    shown: dict[str, Any] = {
        "id": id,
        "kind": "plan",
        "stage": "read",
        "spec": {"audiences": ["lapsed-vip"]},
        "leases": {"lapsed-vip/meta-se": 3},
        "created_at": NOON,
        "changed_at": NOON,
    }
    return Job(**shown | changes)


def taken(ledger: Ledger, piece: Piece, holder: str = "me") -> Lease:
    """The lease of a piece."""
    return ledger.take_lease(piece_lease(piece.job, piece.stage, piece.number), holder, 60)


class JobsContract(LedgerContract):
    """Counting is the database's; messages may come late, twice or never."""

    def test_a_job_comes_back_as_it_was_written(self, ledger: Ledger) -> None:
        """The job, and as many pieces as were asked for, none done."""
        ledger.create_job(job(), 3)
        assert ledger.job("j1") == job()
        assert [piece.number for piece in ledger.pieces("j1", "read")] == [0, 1, 2]
        assert ledger.pieces_left("j1", "read") == 3

    def test_an_unknown_job_is_told_in_a_sentence(self, ledger: Ledger) -> None:
        """Not a KeyError."""
        with pytest.raises(ConfigurationError, match="no job j9"):
            ledger.job("j9")
        assert ledger.piece("j9", "read", 0) is None

    def test_finished_pieces_are_counted(self, ledger: Ledger) -> None:
        """The number left falls by one a piece, whatever the order."""
        ledger.create_job(job(), 2)
        first, second = ledger.pieces("j1", "read")
        assert ledger.finish_piece(second, {"rows": 2}, taken(ledger, second)) == 1
        assert ledger.finish_piece(first, {"rows": 1}, taken(ledger, first)) == 0
        assert [piece.result["rows"] for piece in ledger.pieces("j1", "read")] == [1, 2]

    def test_a_piece_done_twice_keeps_its_first_result(self, ledger: Ledger, clock: Clock) -> None:
        """A doubled message counts nothing twice."""
        ledger.create_job(job(), 2)
        piece = ledger.pieces("j1", "read")[0]
        lease = taken(ledger, piece)
        assert ledger.finish_piece(piece, {"rows": 1}, lease) == 1
        assert ledger.finish_piece(piece, {"rows": 9}, lease) == 1
        assert ledger.pieces("j1", "read")[0].result == {"rows": 1}

    def test_who_was_overtaken_writes_nothing(self, ledger: Ledger, clock: Clock) -> None:
        """The older token finishes no piece."""
        ledger.create_job(job(), 1)
        piece = ledger.pieces("j1", "read")[0]
        late = taken(ledger, piece, "late")
        clock.move(61)
        taken(ledger, piece, "newer")
        with pytest.raises(BusyError):
            ledger.finish_piece(piece, {"rows": 1}, late)
        assert ledger.pieces_left("j1", "read") == 1

    def test_one_of_many_begins_the_next_stage(self, ledger: Ledger) -> None:
        """Only once all pieces are done, and only once."""
        ledger.create_job(job(), 1)
        assert not ledger.advance_job("j1", "read", "compare", 4)
        piece = ledger.pieces("j1", "read")[0]
        ledger.finish_piece(piece, {}, taken(ledger, piece))
        assert ledger.advance_job("j1", "read", "compare", 4, files=8)
        assert not ledger.advance_job("j1", "read", "compare", 4)
        assert ledger.job("j1").stage == "compare"
        assert ledger.job("j1").spec == {"audiences": ["lapsed-vip"], "files": 8}
        assert ledger.pieces_left("j1", "compare") == 4

    def test_a_piece_that_is_handed_back_says_why(self, ledger: Ledger) -> None:
        """And from when on it may be tried again; it is not done."""
        ledger.create_job(job(), 1)
        (piece,) = ledger.pieces("j1", "read")
        later = NOON + timedelta(seconds=30)
        lease = taken(ledger, piece)
        ledger.postpone_piece(piece, until=later, note="the partner is tired", lease=lease)
        again = ledger.piece("j1", "read", 0)
        assert again is not None
        assert (again.note, again.not_before) == ("the partner is tired", later)
        assert (again.done, again.attempts) == (False, piece.attempts + 1)

    def test_the_end_of_a_job_stops_its_workers(self, ledger: Ledger) -> None:
        """A job ends once; whoever still works on it writes nothing more."""
        ledger.create_job(job(), 1)
        piece = ledger.pieces("j1", "read")[0]
        lease = taken(ledger, piece)
        assert ledger.end_job("j1", JobState.CANCELLED, "by an operator")
        assert not ledger.end_job("j1", JobState.DONE)
        assert ledger.job("j1").reason == "by an operator"
        assert ledger.jobs() == []
        with pytest.raises(BusyError):
            ledger.finish_piece(piece, {}, lease)

    def test_what_is_noted_in_a_job_that_ended_is_added(self, ledger: Ledger) -> None:
        """What it knew stays; a job that was forgotten meanwhile is no error."""
        ledger.create_job(job(spec={"width": 2}), 1)
        ledger.end_job("j1", JobState.FAILED, "the source does not answer")
        ledger.note_in_job("j1", seen=True)
        ledger.note_in_job("gone", seen=True)
        assert ledger.job("j1").spec == {"width": 2, "seen": True}
        assert ledger.job("j1").state is JobState.FAILED
