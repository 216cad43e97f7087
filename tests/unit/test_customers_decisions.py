"""Decisions: one row for each thing that a customer said."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from audience_sync.customers.decisions import read_decisions
from audience_sync.customers.description import DecisionsDescription
from audience_sync.customers.policy import microseconds
from audience_sync.errors import ConfigurationError

SCHEMA = {
    "customer_id": pl.String,
    "decision": pl.String,
    "decided_at": pl.Int64,
    "partner": pl.String,
    "channel": pl.String,
}


def write(folder: Path, **columns: list[object]) -> None:
    pl.DataFrame(columns, strict=False).write_csv(folder / "log.csv")


def read(folder: Path, **columns: str) -> pl.DataFrame:
    description = DecisionsDescription(url="log.csv", base=folder, columns=columns)
    return pl.concat(read_decisions(description, rows=2))


def test_decisions_are_read_with_our_names(tmp_path: Path) -> None:
    """Columns that are not mapped are looked for under our own names."""
    write(
        tmp_path,
        customer_id=[1, 2, 3],
        decision=["Withdrawn", "1", None],
        at=["2026-01-02", None, "soon"],
        partner=["meta", None, None],
    )

    found = read(tmp_path, decided_at="at")

    assert found.schema == SCHEMA
    assert found.rows() == [
        ("1", "Withdrawn", microseconds(datetime(2026, 1, 2, tzinfo=UTC)), "meta", None),
        ("2", "1", None, None, None),
        ("3", None, None, None, None),
    ]


@pytest.mark.parametrize("missing", ["customer_id", "decision", "decided_at"])
def test_what_a_decision_needs(tmp_path: Path, missing: str) -> None:
    """A decision needs a person, a word and a time; the rest is optional."""
    columns: dict[str, list[object]] = {"customer_id": [1], "decision": ["no"], "decided_at": [1]}
    write(tmp_path, **{name: column for name, column in columns.items() if name != missing})

    with pytest.raises(ConfigurationError, match=rf"decisions\.columns\.{missing}"):
        read(tmp_path)


def test_a_mapped_column_must_exist(tmp_path: Path) -> None:
    """An optional column that was mapped is not left out silently."""
    write(tmp_path, customer_id=[1], decision=["no"], decided_at=[1])

    with pytest.raises(ConfigurationError, match=r"decisions\.columns\.partner names \"party\""):
        read(tmp_path, partner="party")
    with pytest.raises(ConfigurationError, match=r"decisions\.columns has no who"):
        read(tmp_path, who="customer_id")
