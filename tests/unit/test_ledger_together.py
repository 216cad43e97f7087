"""Threads that record at once are written together, and none fails for another."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audience_sync.errors import BusyError, StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.transfer_log import _Call


def line(run: str) -> TransferLine:
    return TransferLine(
        event=Event.INTENT,
        run=run,
        audience="vip",
        destination="meta-se",
        recipient="Meta",
        recipient_country="IE",
        purpose="advertising",
    )


def test_calls_that_wait_share_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one commits, the others gather; all get their own numbers, and the chain is sound."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        entered, go_on = threading.Event(), threading.Event()
        sizes: list[int] = []
        commit = ledger._commit

        def slow(calls: list[object]) -> None:
            sizes.append(len(calls))
            if len(sizes) == 1:
                entered.set()
                assert go_on.wait(20)
            commit(calls)  # type: ignore[arg-type]

        monkeypatch.setattr(ledger, "_commit", slow)
        numbers: dict[str, list[int]] = {}

        def record(run: str) -> None:
            numbers[run] = ledger.record([line(run), line(run)])

        threads = [threading.Thread(target=record, args=(f"r{i}",)) for i in range(6)]
        threads[0].start()
        assert entered.wait(20)
        for thread in threads[1:]:
            thread.start()
        while len(ledger._calls) < 5:
            threading.Event().wait(0.001)
        go_on.set()
        for thread in threads:
            thread.join(20)
        assert sizes == [1, 5]
        assert sorted(n for found in numbers.values() for n in found) == list(range(1, 13))
        logged = {entry.sequence: entry.line.run for entry in ledger.log_lines()}
        assert all(logged[n] == run for run, found in numbers.items() for n in found)
        assert ledger.verify_log().sound


def test_a_lost_lease_fails_only_its_own_caller(tmp_path: Path) -> None:
    """The others of the same commit are written; the fenced one leaves nothing."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        lost = ledger.take_lease("vip/meta-se", "a", 60)
        ledger.release_lease(lost)

        calls = [_Call([line("one")], (), ()), _Call([line("two")], (), [lost])]
        calls.append(_Call([line("three")], (), ()))
        ledger._write(calls)
        assert [call.numbers for call in calls] == [[1], [], [2]]
        assert isinstance(calls[1].error, BusyError)
        assert [entry.line.run for entry in ledger.log_lines()] == ["one", "three"]


def test_a_line_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    """A naive time is our own mistake; the calls beside it stand."""
    naive = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        calls = [_Call([line("one")], (), ())]
        calls.append(_Call([replace(line("two"), started_at=naive)], (), ()))
        ledger._write(calls)
        assert calls[0].error is None
        assert calls[1].error is not None
        assert ledger.verify_log().sound
        assert [entry.line.run for entry in ledger.log_lines()] == ["one"]


class _Taken(deque[_Call]):
    """Calls of which somebody has always taken the last."""

    def append(self, call: _Call) -> None:
        """Nothing is left of it."""


def test_a_line_that_nobody_wrote_is_never_told_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever took it, to write it with others, was stopped by Ctrl-C between the two (L5)."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        monkeypatch.setattr(ledger, "_calls", _Taken())
        with pytest.raises(StateError, match="interrupted before it wrote"):
            ledger.record([line("two")])
        assert list(ledger.log_lines()) == []
