"""What signed checkpoints promise on every database: all lines covered, every break found."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest
import sqlalchemy as sa
from ledger_contract.builders import NOON, Clock, LedgerContract, full_line, line, run, tamper

from audience_sync.errors import StateError
from audience_sync.ledger import checkpoints
from audience_sync.ledger.chain import GENESIS, seal
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Checkpoint
from audience_sync.ledger.records.runs import RunState
from audience_sync.ledger.tables.log import checkpoints as table
from audience_sync.ledger.tables.log import transfer_log as log
from audience_sync.ledger.tables.log import transfer_log_head as head
from audience_sync.signing import Signer

OURS = Signer(b"\x01" * 32)
THEIRS = Signer(b"\x02" * 32)
YEAR = 366 * 86_400.0  # seconds


def tamper_checkpoints(ledger: Ledger, *statements: sa.Executable) -> None:
    """The same with the checkpoints' triggers out of the way."""
    with ledger._engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            for name in ("no_update", "no_delete", "in_order"):
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS checkpoints_{name}")
        else:
            connection.exec_driver_sql("ALTER TABLE checkpoints DISABLE TRIGGER USER")
        for statement in statements:
            connection.execute(statement)


class CheckpointsContract(LedgerContract):
    @pytest.fixture
    def signed(self, ledger: Ledger, clock: Clock) -> Ledger:
        """Three checkpoints over seven lines, the last three lines under the third."""
        for lines in (2, 2, 3):
            ledger.record([full_line(batch=number) for number in range(lines)])
            assert len(ledger.make_checkpoints(OURS)) == 1
            clock.move(60)
        return ledger

    def test_a_checkpoint_comes_back_and_covers_what_was_not_covered(
        self, ledger: Ledger, signed: Ledger
    ) -> None:
        """Each goes on where the last one ended; nothing new needs none."""
        first, second, third = ledger.checkpoints()
        assert (first.number, first.first, first.sequence) == (1, 1, 2)
        assert (second.first, second.sequence) == (3, 4)
        assert (third.first, third.sequence) == (5, 7)
        assert (first.previous, first.at) == (GENESIS, NOON)
        assert [logged.hash for logged in ledger.log_lines()][6] == third.head
        assert ledger.make_checkpoints(OURS) == []
        found = ledger.verify_log(OURS.trusted)
        assert (found.sound, found.lines, found.signed, found.checkpoints) == (True, 7, 7, 3)

    def test_many_lines_are_signed_in_pieces(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Writers wait for no more than a piece."""
        monkeypatch.setattr(checkpoints, "MOST", 3)
        monkeypatch.setattr(checkpoints, "_PAGE", 2)
        ledger.record([line(batch=number) for number in range(8)])
        made = ledger.make_checkpoints(OURS)
        assert [(one.first, one.sequence) for one in made] == [(1, 3), (4, 6), (7, 8)]
        assert ledger.verify_log(OURS.trusted).sound

    def test_lines_after_the_last_checkpoint_are_sound_but_not_signed(
        self, ledger: Ledger, signed: Ledger
    ) -> None:
        """Both numbers are told."""
        ledger.record([line()])
        found = ledger.verify_log(OURS.trusted)
        assert (found.sound, found.lines, found.signed) == (True, 8, 7)

    @pytest.mark.parametrize("column", [f.name for f in fields(Checkpoint) if f.name != "number"])
    @pytest.mark.parametrize("victim", [1, 2, 3])
    def test_a_changed_checkpoint_is_found(
        self, ledger: Ledger, signed: Ledger, column: str, victim: int
    ) -> None:
        """Whichever column of whichever checkpoint; it is named."""
        before = getattr(ledger.checkpoints()[victim - 1], column)
        other: object = "ab" * 32
        if isinstance(before, int):
            other = before + 1
        elif column == "at":
            other = before + timedelta(seconds=1)
        changed = sa.update(table).where(table.c.number == victim).values({column: other})
        tamper_checkpoints(ledger, changed)
        found = ledger.verify_log(OURS.trusted)
        assert not found.sound
        assert found.broken_checkpoint == victim
        assert f"checkpoint {victim}" in str(found.finding)

    def test_a_foreign_signature_is_found(self, ledger: Ledger, clock: Clock) -> None:
        """Whoever has the database's password signs with a key of their own."""
        ledger.record([line()])
        ledger.make_checkpoints(OURS)
        ledger.record([line()])
        ledger.make_checkpoints(THEIRS)
        found = ledger.verify_log(OURS.trusted)
        assert found.broken_checkpoint == 2
        assert "not this project's" in str(found.finding)
        assert ledger.verify_log(Signer(b"\x02" * 32, (b"\x01" * 32,)).trusted).sound

    @pytest.mark.parametrize("victim", [1, 2])
    def test_a_deleted_checkpoint_is_found(
        self, ledger: Ledger, signed: Ledger, victim: int
    ) -> None:
        """The next one knows it."""
        tamper_checkpoints(ledger, sa.delete(table).where(table.c.number == victim))
        found = ledger.verify_log(OURS.trusted)
        assert "missing" in str(found.finding)
        assert found.broken_checkpoint == victim + 1

    def test_exchanged_signatures_are_found(self, ledger: Ledger, signed: Ledger) -> None:
        """A signature is under one statement only."""
        one, two, _ = ledger.checkpoints()
        tamper_checkpoints(
            ledger,
            sa.update(table).where(table.c.number == 1).values(signature=two.signature),
            sa.update(table).where(table.c.number == 2).values(signature=one.signature),
        )
        assert ledger.verify_log(OURS.trusted).broken_checkpoint == 1

    @pytest.mark.parametrize("victim", range(1, 8))
    def test_a_history_written_anew_is_found(
        self, ledger: Ledger, signed: Ledger, victim: int
    ) -> None:
        """All hashes from a line on made anew, the head too: the signature does not fit."""
        previous, statements = GENESIS, []
        with ledger._engine.connect() as connection:
            rows = [dict(row._mapping) for row in connection.execute(sa.select(log))]
        for row in sorted(rows, key=lambda row: row["sequence"]):
            row["sent"] += row["sequence"] == victim
            row["previous_hash"] = previous
            previous = row["hash"] = seal(row)
            statements.append(sa.update(log).where(log.c.sequence == row["sequence"]).values(**row))
        tamper(ledger, *statements, sa.update(head).values(hash=previous))
        found = ledger.verify_log(OURS.trusted)
        assert "rewritten" in str(found.finding)
        covering = 1 if victim <= 2 else 2 if victim <= 4 else 3
        assert f"checkpoint {covering} signed" in str(found.finding)

    def test_an_end_cut_off_with_the_head_set_back_is_found(
        self, ledger: Ledger, signed: Ledger
    ) -> None:
        """The checkpoints know how long the log was."""
        [sixth] = ledger.log_lines(after=5, limit=1)
        tamper(
            ledger,
            sa.delete(log).where(log.c.sequence > 6),
            sa.update(head).values(lines=6, hash=sixth.hash),
        )
        found = ledger.verify_log(OURS.trusted)
        assert "line 7 is missing at the end" in str(found.finding)

    def test_a_damaged_line_is_never_signed(self, ledger: Ledger) -> None:
        """A signature under it would make it look right."""
        ledger.record([line(), line()])
        tamper(ledger, sa.update(log).where(log.c.sequence == 2).values(sent=1))
        with pytest.raises(StateError, match="log verify"):
            ledger.make_checkpoints(OURS)
        assert ledger.checkpoints() == []

    def test_purging_keeps_the_rest_verifiable(self, ledger: Ledger, signed: Ledger) -> None:
        """Whole checkpoints go, another one stands in for their lines, and the chain goes on."""
        assert ledger.purgeable(6) == 4
        assert ledger.purge_log(OURS, 6) == 4
        assert [logged.sequence for logged in ledger.log_lines()] == [5, 6, 7]
        assert [one.number for one in ledger.checkpoints()] == [3, 4]
        ledger.record([line()])
        ledger.make_checkpoints(OURS)
        found = ledger.verify_log(OURS.trusted)
        assert (found.sound, found.lines, found.purged, found.signed) == (True, 4, 4, 8)
        assert ledger.purge_log(OURS, 8) == 4
        assert list(ledger.log_lines()) == []
        assert ledger.verify_log(OURS.trusted).sound
        assert ledger.purge_log(OURS, 8) == 0
        assert ledger.record([line()]) == [9]
        ledger.make_checkpoints(OURS)
        assert ledger.verify_log(OURS.trusted).sound

    def test_the_database_lets_only_purged_lines_go(self, ledger: Ledger, signed: Ledger) -> None:
        """Neither more lines, nor a checkpoint, nor a purge of what nobody signed."""
        ledger.purge_log(OURS, 2)
        kept = ledger.checkpoints()[-1]
        forged = {name: getattr(kept, name) for name in table.c.keys()}  # noqa: SIM118 - columns by name
        wrong = [
            sa.delete(log).where(log.c.sequence == 3),
            sa.delete(log),
            sa.update(log).values(sent=0),
            sa.update(table).values(purged_through=7),
            sa.delete(table).where(table.c.number == kept.number),
            sa.delete(table).where(table.c.number == 2),
            sa.insert(table).values(forged | {"number": kept.number + 2}),
            sa.insert(table).values(forged | {"number": kept.number + 1, "purged_through": 99}),
            sa.insert(table).values(forged | {"number": kept.number + 1, "purged_through": 0}),
        ]
        for statement in wrong:
            with pytest.raises(sa.exc.DBAPIError, match="append-only"), ledger._engine.begin() as c:
                c.execute(statement)
        assert ledger.verify_log(OURS.trusted).sound

    def test_a_line_put_back_below_the_purge_is_found(self, ledger: Ledger, signed: Ledger) -> None:
        """What is gone stays gone."""
        with ledger._engine.connect() as connection:
            row = connection.execute(sa.select(log).where(log.c.sequence == 2)).one()
        ledger.purge_log(OURS, 4)
        with ledger._engine.begin() as connection:
            connection.execute(sa.insert(log).values(dict(row._mapping)))
        found = ledger.verify_log(OURS.trusted)
        assert found.finding == "line 2 was inserted"

    def test_a_line_may_go_a_time_after_its_run_has_closed(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        """An open run keeps its lines and all after them; a run nobody knows counts as closed."""
        closed = run("r1", state=RunState.CONFIRMED, finished_at=NOON)
        ledger.create_run(closed, [])
        ledger.create_run(run("r2", state=RunState.DELIVERING), [])
        late = run("r3", state=RunState.FAILED, finished_at=NOON + timedelta(days=9))
        ledger.create_run(late, [])
        assert ledger.log_closed_before(NOON) == 0
        ledger.record([line(run="r1"), line(run=""), line(run="r1"), line(run="r3")])
        clock.move(YEAR)
        ledger.record([line(run="r1")])
        assert ledger.log_closed_before(NOON - timedelta(seconds=1)) == 0
        assert ledger.log_closed_before(NOON + timedelta(days=1)) == 3
        assert ledger.log_closed_before(NOON + timedelta(days=10)) == 4
        assert ledger.log_closed_before(NOON + timedelta(days=999)) == 5
        ledger.record([line(run="r2"), line(run="r1")])
        assert ledger.log_closed_before(NOON + timedelta(days=999)) == 5
