"""Moments and birth dates, from dates, timestamps, ISO text and numbers.

A time without a zone is UTC. Numbers are seconds, milliseconds, microseconds or nanoseconds since
1970 by their size, or a date written as 20240131; numbers under 100,000 are no times. Other ways
of writing a date (31/01/2024) are ambiguous and become null.
"""

from __future__ import annotations

import polars as pl

from audience_sync.customers.text import text

_DAY = 86_400_000_000  # microseconds
_FIRST_DAY = -719_162  # 0001-01-01
_LAST_DAY = 2_932_896  # 9999-12-31
_SMALLEST = 100_000  # a number nearer to zero is a placeholder, a year or a count of days
_COMPACT = (18_000_101, 22_001_231)  # 20240131 and the like; as seconds: 1970, before all of this
_SECONDS, _MILLISECONDS, _MICROSECONDS = 10**11, 10**14, 10**17  # numbers below these
_NUMBER = r"^[+-]?\d{1,19}(?:\.\d*)?$"
_DATE = "%Y-%m-%d"
# A blank between the parts may be missing.
_FORMS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    _DATE,
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
)
_TIME_OF_DAY = r"^(\d{4}-\d{2}-\d{2})[T ].*$"


def moments(series: pl.Series) -> pl.Series:
    """Microseconds since 1970 in UTC; null where there is no time that can be read."""
    dtype = series.dtype
    if isinstance(dtype, pl.Date):
        found = _bounded(series.to_physical().cast(pl.Int64), 1) * _DAY
    elif isinstance(dtype, pl.Datetime):
        found = _from_timestamps(series.to_physical(), dtype.time_unit)
    elif dtype.is_numeric():
        found = _from_numbers(series)
    elif isinstance(dtype, pl.String | pl.Binary | pl.Categorical | pl.Enum):
        found = _from_text(series)
    else:
        found = pl.repeat(None, len(series), dtype=pl.Int64, eager=True)
    return _bounded(found, _DAY).alias(series.name)


def birth_dates(series: pl.Series) -> pl.Series:
    """Dates, of a timestamp as text the date written; null where none can be read."""
    if isinstance(series.dtype, pl.String | pl.Binary):
        written = text(series).str.strip_chars()
        found = _bounded(_read(written, _DATE), _DAY)
        if found.null_count() > written.null_count():
            rest = _where(written, found.is_null()).str.replace(_TIME_OF_DAY, "$1")
            found = found.fill_null(moments(rest))
    else:
        found = moments(series)
    return (found // _DAY).cast(pl.Int32).cast(pl.Date).alias(series.name)


def _bounded(values: pl.Series, units_per_day: int) -> pl.Series:
    """Null outside the years 1 to 9999, where databases keep their infinities."""
    first, last = _FIRST_DAY * units_per_day, (_LAST_DAY + 1) * units_per_day
    return _where(values, values.is_between(first, last, closed="left"))


def _where(values: pl.Series, keep: pl.Series) -> pl.Series:
    return values.zip_with(keep.fill_null(value=False), values.clear(len(values)))


def _from_timestamps(values: pl.Series, unit: str) -> pl.Series:
    if unit == "ns":
        return values // 1_000
    return _bounded(values, _DAY // 1_000) * 1_000 if unit == "ms" else values


def _from_numbers(series: pl.Series) -> pl.Series:
    exact = series.dtype.is_integer()
    value = pl.col("value")
    size = value.abs()
    micros = (
        pl.when(value.is_between(*_COMPACT)).then(None)
        .when(size < _SMALLEST).then(None)
        .when(size < _SECONDS).then(value * 1_000_000)
        .when(size < _MILLISECONDS).then(value * 1_000)
        .when(size < _MICROSECONDS).then(value)
        .otherwise(value // 1_000)
    )  # fmt: skip
    numbers = series.cast(pl.Int64 if exact else pl.Float64, strict=False).to_frame("value")
    rounded = micros if exact else micros.round()
    found = numbers.select(rounded.cast(pl.Int64, strict=False)).to_series()
    compact = numbers.select(
        pl.when(value.is_between(*_COMPACT)).then(value.cast(pl.Int64, strict=False))
    ).to_series()
    if compact.null_count() == len(compact):
        return found
    dates = compact.cast(pl.String).str.to_date("%Y%m%d", strict=False)
    return found.fill_null(dates.to_physical().cast(pl.Int64) * _DAY)


def _from_text(series: pl.Series) -> pl.Series:
    written = text(series).str.strip_chars()
    found = _written_moments(written)
    if found.null_count() == written.null_count():
        return found
    return found.fill_null(_written_numbers(_where(written, found.is_null())))


def _written_numbers(written: pl.Series) -> pl.Series:
    numbers = _where(written, written.str.contains(_NUMBER))
    fractions = numbers.str.contains(".", literal=True).any()
    return _from_numbers(numbers.cast(pl.Float64 if fractions else pl.Int64, strict=False))


def _written_moments(written: pl.Series) -> pl.Series:
    """Each form is tried on what the forms before it could not read, the likeliest first."""
    sample = written.drop_nulls().head(1)
    likely, *others = sorted(_FORMS, key=lambda form: _read(sample, form).null_count())
    found = _read(written, likely)
    for form in others:
        missing = (found.is_null() & written.is_not_null()).arg_true()
        if missing.is_empty():
            break
        found = found.scatter(missing, _read(written.gather(missing), form))
    return found


def _read(written: pl.Series, form: str) -> pl.Series:
    if form == _DATE:
        days = written.str.to_date(form, strict=False).to_physical().cast(pl.Int64)
        return _bounded(days, 1) * _DAY
    zone = "UTC" if form.endswith("z") else None
    read = written.str.to_datetime(form, time_unit="us", time_zone=zone, strict=False)
    return read.to_physical()
