"""What the transfer log promises on every database: gap-free, append-only, every break found."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from ledger_contract.builders import (
    NOON,
    Clock,
    LedgerContract,
    batch,
    full_line,
    line,
    run,
    tamper,
)

from audience_sync.errors import StateError
from audience_sync.ledger import transfer_log
from audience_sync.ledger.chain import GENESIS, seal
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, Verification
from audience_sync.ledger.records.runs import BatchState
from audience_sync.ledger.tables.log import transfer_log as table

LINES = 7  # in the log that is tampered with
VICTIM = 4  # the line that is changed, in the middle


class TransferLogContract(LedgerContract):
    def test_a_line_comes_back_as_it_was_recorded(self, ledger: Ledger) -> None:
        """Every column survives, and the first line follows 64 zeros."""
        assert ledger.record([full_line(), line()]) == [1, 2]

        first, second = ledger.log_lines()
        assert (1, NOON, full_line()) == (first.sequence, first.at, first.line)
        assert (2, NOON, line()) == (second.sequence, second.at, second.line)
        assert first.previous_hash == GENESIS
        assert first.hash == second.previous_hash

    def test_what_comes_after_the_newest_line_is_found_by_its_number(self, ledger: Ledger) -> None:
        """That is how a command tells what came of it."""
        assert ledger.newest_line() == 0
        ledger.record([line(), line()])
        newest = ledger.newest_line()
        assert newest == 2
        ledger.record([full_line()])
        assert [logged.line for logged in ledger.log_lines(after=newest)] == [full_line()]

    def test_a_hash_can_be_computed_elsewhere(self, ledger: Ledger) -> None:
        """The rule is written down and fixed: these are the very bytes of the first line."""
        ledger.record([line(started_at=NOON, note="sent é")])

        [logged] = ledger.log_lines()
        written = (
            '{"accepted":0,"actor":null,"at":"2026-11-21T12:00:00.123456Z","attempts":0,'
            '"audience":"lapsed-vip","batch":0,"body_sha256":null,"code":null,'
            '"destination":"meta-se","event":"intent","finished_at":null,"forms":"",'
            '"note":"sent \u00e9","operation":"add","previous_hash":"' + "0" * 64 + '",'
            '"purpose":"advertising","raw_device_ids":false,'
            '"recipient":"Meta Platforms Ireland Limited","recipient_country":"IE",'
            '"reference":null,"rejected":0,"run":"r1","sent":10000,"sequence":1,'
            '"started_at":"2026-11-21T12:00:00.123456Z","status":null,"unattributed":0}'
        )
        assert logged.hash == hashlib.sha256(written.encode()).hexdigest()

    def test_lines_and_batches_are_recorded_together(self, ledger: Ledger) -> None:
        """When a batch cannot be written, no line is left that tells of it, and no gap."""
        ledger.create_run(run(), [batch()])

        with pytest.raises(StateError):
            ledger.record([line()], [batch(run="unknown")])

        assert list(ledger.log_lines()) == []
        sent = batch(state=BatchState.SENDING)
        assert ledger.record([line()], [sent]) == [1]
        assert [sent] == ledger.batches("r1")
        assert ledger.verify_log().sound

    def test_a_partners_odd_reference_is_kept_readable(self, ledger: Ledger) -> None:
        """NUL and half a character are replaced; the chain stays sound, and so does the batch."""
        ledger.create_run(run(), [batch()])

        ledger.record([line(reference="a\0b\ud800", code="\n")], [batch(reference="\0")])

        [logged] = ledger.log_lines()
        assert logged.line.reference == "a\N{REPLACEMENT CHARACTER}b?"
        assert logged.line.code == "\n"
        assert ledger.verify_log().sound

    def test_lines_are_found_by_what_is_asked(
        self, ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Filters combine, pages do not show, and `after` goes on where the last page ended."""
        monkeypatch.setattr(transfer_log, "PAGE", 3)
        for number in range(10):
            destination = "meta-se" if number % 2 else "google-se"
            ledger.record([line(run=f"r{number // 5}", destination=destination, batch=number)])
            clock.move(60)

        def numbers(**filters: object) -> list[int]:
            return [logged.sequence for logged in ledger.log_lines(**filters)]

        assert list(range(1, 11)) == numbers()
        assert numbers(destination="meta-se") == [2, 4, 6, 8, 10]
        assert numbers(destination="meta-se", run="r1") == [6, 8, 10]
        assert numbers(audience="unknown") == []
        assert numbers(since=NOON + timedelta(minutes=8)) == [9, 10]
        assert numbers(after=4, limit=4) == [5, 6, 7, 8]
        assert numbers(limit=0) == []

    def test_an_intent_without_an_answer_is_found(self, ledger: Ledger) -> None:
        """The last intent is the one that an outcome answers; `unknown` answers, too."""
        ledger.record(
            [
                line(batch=0),
                line(Event.OUTCOME, batch=0),
                line(batch=1),
                line(batch=1, attempts=1),
                line(Event.OUTCOME, batch=1),
                line(batch=2),
                line(Event.UNKNOWN, batch=2),
                line(batch=3, operation="remove"),
                line(Event.OUTCOME, batch=3, operation="add"),
                line(batch=None, operation="create"),
                line(run="r2"),
            ]
        )

        assert [logged.sequence for logged in ledger.unanswered("r1")] == [3, 8, 10]

    def test_the_database_refuses_to_change_the_log(self, ledger: Ledger) -> None:
        """Not even by hand, unless somebody first takes the triggers away."""
        ledger.record([line()])
        statements = ["UPDATE transfer_log SET sent = 0", "DELETE FROM transfer_log"]
        if ledger._engine.dialect.name == "postgresql":
            statements.append("TRUNCATE transfer_log")

        for statement in statements:
            with pytest.raises(sa.exc.DBAPIError, match="append-only"), ledger._engine.begin() as c:
                c.exec_driver_sql(statement)

        assert ledger.verify_log().sound

    def test_an_empty_log_is_sound(self, ledger: Ledger) -> None:
        """It ends where it starts."""
        assert ledger.verify_log() == Verification(lines=0, head=GENESIS)

    def test_writers_at_once_make_one_chain(self, ledger: Ledger) -> None:
        """Eight threads append: no gap, no twin, and every caller knows its own numbers."""
        ledger.create_run(run(), [batch(position=position) for position in range(8)])
        lease = ledger.take_lease("vip", "worker-1", 60)
        given: list[int] = []

        def deliver(position: int) -> None:
            for _ in range(10):
                sent = batch(position=position, state=BatchState.SENDING)
                given.extend(ledger.record([line(batch=position), line()], [sent], lease))

        threads = [threading.Thread(target=deliver, args=(position,)) for position in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert list(range(1, 161)) == sorted(given)
        assert ledger.verify_log().lines == 160
        assert ledger.verify_log().sound


class TamperContract(LedgerContract):
    """Whoever changes the log by hand is found out, and the line is named."""

    @pytest.fixture(autouse=True)
    def _seven_lines(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transfer_log, "PAGE", 3)
        ledger.record([full_line(batch=number) for number in range(LINES)])
        assert ledger.verify_log() == Verification(lines=LINES, head=_hash(ledger, LINES))

    @pytest.mark.parametrize("victim", [1, VICTIM, LINES])
    @pytest.mark.parametrize("column", [c.name for c in table.columns if c.name != "sequence"])
    def test_a_changed_column_is_found(self, ledger: Ledger, column: str, victim: int) -> None:
        """Whichever column, in the first line, the middle or the last."""
        [before] = ledger.log_lines(after=victim - 1, limit=1)
        now = {**asdict(before.line), "at": before.at}.get(column, "ab" * 32)
        tamper(ledger, _update(victim, {column: _other(now)}))

        _assert_found(ledger, victim, f"line {victim} was changed")

    @pytest.mark.parametrize("column", [c.name for c in table.columns if c.nullable])
    def test_a_value_taken_away_is_found(self, ledger: Ledger, column: str) -> None:
        """Nothing is not the same as something."""
        tamper(ledger, _update(VICTIM, {column: None}))

        _assert_found(ledger, VICTIM, f"line {VICTIM} was changed")

    def test_a_changed_number_is_found(self, ledger: Ledger) -> None:
        """A line that is renumbered leaves a hole."""
        tamper(ledger, _update(VICTIM, {"sequence": 99}))

        _assert_found(ledger, VICTIM, "line 4 is missing: deleted")

    @pytest.mark.parametrize("victim", range(1, LINES))
    def test_a_line_changed_and_hashed_anew_is_found(self, ledger: Ledger, victim: int) -> None:
        """The next line still knows the old hash."""
        tamper(ledger, _forged(ledger, victim))

        _assert_found(ledger, victim + 1, "does not follow line")

    def test_a_last_line_changed_and_hashed_anew_is_found(self, ledger: Ledger) -> None:
        """The head still knows the old hash."""
        tamper(ledger, _forged(ledger, LINES))

        _assert_found(ledger, LINES, "not the one that was written last")

    @pytest.mark.parametrize("victim", range(1, LINES))
    def test_a_deleted_line_is_found(self, ledger: Ledger, victim: int) -> None:
        """The hole is named."""
        tamper(ledger, sa.delete(table).where(table.c.sequence == victim))

        _assert_found(ledger, victim, f"line {victim} is missing: deleted")

    def test_a_deleted_line_is_found_though_the_rest_moved_up(self, ledger: Ledger) -> None:
        """The hashes know the numbers."""
        tamper(
            ledger,
            sa.delete(table).where(table.c.sequence == VICTIM),
            *(_update(number, {"sequence": number - 1}) for number in range(VICTIM + 1, LINES + 1)),
        )

        _assert_found(ledger, VICTIM, f"line {VICTIM} was changed")

    @pytest.mark.parametrize("left", range(LINES))
    def test_a_cut_off_end_is_found(self, ledger: Ledger, left: int) -> None:
        """The head knows how long the log was."""
        tamper(ledger, sa.delete(table).where(table.c.sequence > left))

        _assert_found(ledger, left + 1, "missing at the end: deleted")

    def test_exchanged_lines_are_found(self, ledger: Ledger) -> None:
        """A line's number is under its hash."""
        for old, new in ((3, 90), (5, 3), (90, 5)):
            tamper(ledger, _update(old, {"sequence": new}))

        _assert_found(ledger, 3, "line 3 was changed")

    @pytest.mark.parametrize("number", [-1, 0, LINES + 1, LINES + 5])
    def test_an_inserted_line_is_found(self, ledger: Ledger, number: int) -> None:
        """However well it is hashed."""
        [last] = ledger.log_lines(after=LINES - 1)
        columns = asdict(last.line) | {
            "sequence": number,
            "at": NOON,
            "previous_hash": last.hash,
        }
        tamper(ledger, sa.insert(table).values(**columns, hash=seal(columns)))

        _assert_found(ledger, number, f"line {number} was inserted")

    def test_a_line_inserted_in_the_middle_is_found(self, ledger: Ledger) -> None:
        """The line after it follows another."""
        [before] = ledger.log_lines(after=VICTIM - 2, limit=1)
        columns = asdict(before.line) | {
            "sequence": VICTIM,
            "at": NOON,
            "previous_hash": before.hash,
        }
        moved = [_update(n, {"sequence": n + 1}) for n in range(LINES, VICTIM - 1, -1)]
        tamper(ledger, *moved, sa.insert(table).values(**columns, hash=seal(columns)))

        _assert_found(ledger, VICTIM + 1, f"line {VICTIM + 1} was changed")

    @pytest.mark.parametrize(
        ("statement", "finding"),
        [
            ("UPDATE transfer_log_head SET lines = 5", "was inserted after the end"),
            ("UPDATE transfer_log_head SET lines = 9", "lines 8 to 9 are missing at the end"),
            ("UPDATE transfer_log_head SET hash = 'x'", "not the one that was written last"),
            ("DELETE FROM transfer_log_head", "the head of the log is missing"),
        ],
    )
    def test_a_changed_head_is_found(self, ledger: Ledger, statement: str, finding: str) -> None:
        """The head is as well guarded as what it heads."""
        tamper(ledger, statement)

        found = ledger.verify_log()
        assert not found.sound
        assert finding in str(found.finding)

    def test_a_word_that_nobody_knows_is_found(self, ledger: Ledger) -> None:
        """It cannot be read as a line; reading the log says so, too, without a traceback."""
        tamper(ledger, "UPDATE transfer_log SET event = 'party' WHERE sequence = 4")

        _assert_found(ledger, VICTIM, f"line {VICTIM} was changed")
        with pytest.raises(StateError, match="line 4 of the transfer log cannot be read"):
            list(ledger.log_lines())

    def test_nothing_is_appended_to_a_log_without_head(self, ledger: Ledger) -> None:
        """A second start of the chain would hide the first."""
        tamper(ledger, "DELETE FROM transfer_log_head")

        with pytest.raises(StateError, match="head is missing"):
            ledger.record([line()])


def _assert_found(ledger: Ledger, at: int, finding: str) -> None:
    found = ledger.verify_log()
    assert not found.sound
    assert at == found.broken_at
    assert finding in str(found.finding)


def _update(sequence: int, values: dict[str, object]) -> sa.Update:
    return sa.update(table).where(table.c.sequence == sequence).values(values)


def _forged(ledger: Ledger, victim: int) -> sa.Update:
    [before] = ledger.log_lines(after=victim - 1, limit=1)
    columns = asdict(replace(before.line, sent=1)) | {
        "sequence": victim,
        "at": before.at,
        "previous_hash": before.previous_hash,
    }
    return _update(victim, {"sent": 1, "hash": seal(columns)})


def _hash(ledger: Ledger, sequence: int) -> str:
    [logged] = ledger.log_lines(after=sequence - 1, limit=1)
    return logged.hash


_OTHERS: list[tuple[type, Callable[[object], object]]] = [
    (bool, lambda value: not value),
    (Event, lambda _: Event.FORCED),
    (int, lambda value: int(str(value)) + 1),
    (str, lambda value: f"{value}x"),
]


def _other(value: object) -> object:
    """A value of the same kind that is not the same."""
    for kind, change in _OTHERS:
        if isinstance(value, kind):
            return change(value)
    assert hasattr(value, "astimezone")
    return value + timedelta(microseconds=1)
