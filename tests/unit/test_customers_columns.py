"""Whatever a source holds becomes canonical columns, and never an error or a wrong value."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.customers.columns import canonical
from audience_sync.customers.policy import microseconds
from audience_sync.errors import ConfigurationError

UUID = uuid.UUID("6f1cf3e2-5d1b-4c8a-9f6d-0a1b2c3d4e5f")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WHOLE = microseconds(MOMENT)


def one(name: str, series: pl.Series) -> list[Any]:
    return canonical(series.alias(name).to_frame(), "source")[name].to_list()


@pytest.mark.parametrize(
    ("series", "ids"),
    [
        (pl.Series([1, None, 300], dtype=pl.Int16), ["1", None, "300"]),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), ["18446744073709551615"]),
        (pl.Series([7.0, None, 2.5]), ["7", None, "2.5"]),
        (pl.Series([Decimal("12.00"), Decimal("1.50")]), ["12", "1.50"]),
        (pl.Series(["a", "", None, " b"]), ["a", None, None, " b"]),
        (pl.Series([b"a", b"", None, "ä".encode()]), ["a", None, None, "ä"]),
        (pl.Series([UUID.bytes, b"plain-ascii-id-1"]), [str(UUID), "plain-ascii-id-1"]),
        (pl.Series([b"\xff\x00", None]), ["ff00", None]),
        (pl.Series([bytes(16)]), [str(uuid.UUID(int=0))]),
        (pl.Series(["x", "y"], dtype=pl.Categorical), ["x", "y"]),
        (pl.Series([None, None]), [None, None]),
        (pl.Series([], dtype=pl.Null), []),
        (pl.Series(["a\x00b", "x" * 2**20]), ["a\x00b", "x" * 2**20]),
    ],
)
def test_ids_become_text(series: pl.Series, ids: list[str | None]) -> None:
    """An id is the same text whatever type its column has."""
    assert one("customer_id", series) == ids


def test_bytes_that_are_no_text_are_no_email() -> None:
    """Bytes that are not UTF-8 are missing, except in an id."""
    assert one("email", pl.Series([b"\xff", b"\xed\xa0\x80", b"a@b.se"])) == [None, None, "a@b.se"]


@given(st.lists(st.none() | st.binary(max_size=20) | st.text(max_size=6).map(str.encode)))
def test_bytes_are_read_as_utf8_or_not_at_all(values: list[bytes | None]) -> None:
    """Each value is read for itself, so that a batch's other values change nothing."""

    def read(value: bytes | None) -> str | None:
        try:
            return (value or b"").decode() or None
        except UnicodeDecodeError:
            return None

    assert one("email", pl.Series(values, dtype=pl.Binary)) == [read(v) for v in values]


@given(st.lists(st.uuids(version=4), max_size=20))
def test_binary_uuids_are_written_as_uuids(values: list[uuid.UUID]) -> None:
    """A UUID in bytes meets the same UUID in text."""
    series = pl.Series([value.bytes for value in values], dtype=pl.Binary)

    assert one("external_id", series) == [str(value) for value in values]


@pytest.mark.parametrize(
    ("series", "words"),
    [
        (pl.Series([True, False, None]), ["true", "false", None]),
        (pl.Series([1, 0, None, 2]), ["true", "false", None, "2"]),
        (pl.Series([1.0, 0.0, None]), ["true", "false", None]),
        (pl.Series(["1", "0", "1.0", "Granted", ""]), ["1", "0", "1.0", "Granted", None]),
    ],
)
def test_consent_is_a_word(series: pl.Series, words: list[str | None]) -> None:
    """A Boolean or a number that stands for one is written as true or false; text stays."""
    assert one("consent", series) == words


@pytest.mark.parametrize(
    "series",
    [
        pl.Series([MOMENT]),
        pl.Series([MOMENT.replace(tzinfo=None)]),
        pl.Series([MOMENT]).dt.convert_time_zone("Europe/Stockholm"),
        *(pl.Series([MOMENT]).dt.cast_time_unit(unit) for unit in ("ns", "us", "ms")),
        pl.Series([WHOLE // 1_000_000]),
        pl.Series([WHOLE // 1_000]),
        pl.Series([WHOLE]),
        pl.Series([WHOLE * 1_000]),
        pl.Series([WHOLE / 1_000_000]),
        pl.Series([Decimal(WHOLE // 1_000_000)]),
        pl.Series([b"2026-01-02 03:04:05"]),
        pl.Series(["2026-01-02 03:04:05"]),
        pl.Series(["  2026-01-02T03:04:05 "]),
        pl.Series(["2026-01-02T03:04:05Z"]),
        pl.Series(["2026-01-02T03:04:05.000Z"]),
        pl.Series(["2026-01-02 04:04:05+01"]),
        pl.Series(["2026-01-02 04:04:05.000000+01:00"]),
        pl.Series(["2026-01-01T22:04:05-0500"]),
        pl.Series(["2026-01-02 03:04:05 +00:00"]),
        pl.Series([str(WHOLE // 1_000_000)]),
        pl.Series([str(WHOLE // 1_000)]),
        pl.Series([f"{WHOLE // 1_000_000}.0"]),
    ],
)
def test_moments_are_understood(series: pl.Series) -> None:
    """One moment in every way that sources write it."""
    assert one("consent_at", series) == [WHOLE]


@pytest.mark.parametrize(
    "series",
    [
        pl.Series(["2026-01-02"]),
        pl.Series(["20260102"]),
        pl.Series([20260102]),
        pl.Series([20260102.0]),
        pl.Series([date(2026, 1, 2)]),
        pl.Series(["2026-01-02 00:00"]),
    ],
)
def test_a_date_is_its_first_moment(series: pl.Series) -> None:
    """A date without a time begins at midnight UTC."""
    assert one("last_activity_at", series) == [microseconds(datetime(2026, 1, 2, tzinfo=UTC))]


@pytest.mark.parametrize(
    "series",
    [
        pl.Series(["", None, "never", "31/01/2026", "2026-02-30", "2026-13-01", "0000-01-01"]),
        pl.Series(["99999-01-01", "2026-01-02 25:00:00", "9" * 40, "1985", "2026-01-02T", "NaN"]),
        pl.Series([0, 1985, -1, 20261345, -(2**63), 2**63 - 1]),
        pl.Series([float("nan"), float("inf"), -float("inf"), 1e300, 0.5]),
        pl.Series([-(2**31), 2**31 - 1], dtype=pl.Int32).cast(pl.Date),
        pl.Series([-(2**63) + 1, 2**63 - 1]).cast(pl.Datetime("us")),
        pl.Series([-(2**63) + 1, 2**63 - 1]).cast(pl.Datetime("ms", "UTC")),
        pl.Series([True, False]),
        pl.Series([timedelta(days=1)]),
        pl.Series([None, None]),
    ],
)
def test_what_is_no_moment_is_unknown(series: pl.Series) -> None:
    """A placeholder, an infinity or an ambiguous date is null, whatever its type."""
    unknown = [None] * len(series)
    found = one("consent_at", series)

    allowed = {9223372036854775}  # nanoseconds up to 2262
    assert [None if value in allowed else value for value in found] == unknown
    assert len(one("birth_date", series)) == len(series)


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-840, 840))  # noqa: DTZ001 - the zone is drawn
def test_iso_text_is_read_exactly(moment: datetime, offset: int) -> None:
    """Any ISO 8601 timestamp with a zone is read to the microsecond."""
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))

    assert one("consent_at", pl.Series([zoned.isoformat()])) == [microseconds(zoned)]
    assert one("consent_at", pl.Series([zoned.isoformat(" ")])) == [microseconds(zoned)]


@pytest.mark.parametrize(
    "series",
    [
        pl.Series([date(1899, 12, 31)]),
        pl.Series([datetime(1899, 12, 31, 5, tzinfo=UTC)]),
        pl.Series(["1899-12-31"]),
        pl.Series(["1899-12-31T23:59:59-05:00"]),
        pl.Series(["18991231"]),
        pl.Series([18991231]),
        pl.Series([microseconds(datetime(1899, 12, 31, tzinfo=UTC)) // 1_000_000]),
    ],
)
def test_birth_dates_are_understood(series: pl.Series) -> None:
    """A birth date before 1900 is read in every way that sources write it."""
    assert one("birth_date", series) == [date(1899, 12, 31)]


@pytest.mark.parametrize("name", ["email", "consent_at", "birth_date", "consent"])
def test_structures_are_refused(name: str) -> None:
    """A column of lists is a mistake in the mapping."""
    with pytest.raises(ConfigurationError, match=f"source.columns.{name} holds lists"):
        one(name, pl.Series([[1, 2]]))
