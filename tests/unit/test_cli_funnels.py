"""How funnels are shown: a column each where there is room, spans where there is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from audience_sync.cli.outcomes import print_funnels
from audience_sync.ledger.records.runs import Run, RunState

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def _run(audience: str, destination: str, rows: int, dropped: int) -> Run:
    funnel = {"rows_read": rows, "no_consent": 10, "no_usable_identifier": dropped}
    return Run(
        id=f"{audience}-{destination}",
        audience=audience,
        destination=destination,
        state=RunState.CONFIRMED,
        planned_at=NOW,
        funnel=funnel | {"members": rows - 10 - dropped},
    )


def _show(runs: Sequence[Run], capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    print_funnels(runs)
    return [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_equal_funnels_of_an_audience_are_one_column(capsys: pytest.CaptureFixture[str]) -> None:
    """Where partners take the same kinds, nobody reads the same numbers twice."""
    told = _show([_run("a", place, 100, 5) for place in ("x", "y", "z")], capsys)

    assert told[0] == ["a"]
    assert ["members", "85"] in told
    assert len(told) == 5


def test_few_different_funnels_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    """Each destination has its own numbers, which add up."""
    told = _show([_run("a", "x", 100, 5), _run("a", "y", 100, 7)], capsys)

    assert told[:2] == [["a", "a"], ["at", "x", "at", "y"]]
    assert ["members", "85", "83"] in told


def test_many_different_funnels_are_told_by_audience(capsys: pytest.CaptureFixture[str]) -> None:
    """The least and the most of an audience, a single number where all agree."""
    runs = [_run(name, place, 100, size) for name in "ab" for size, place in enumerate("wxyz")]

    told = _show(runs, capsys)

    assert told[0] == ["a", "b"]
    assert ["no", "consent", "-", "10", "-", "10"] in told
    assert ["members", "87", "to", "90", "87", "to", "90"] in told
    assert any("run" in line for line in told[-1:])  # where each is
