"""Whatever a source holds, as text: numbers, UUIDs, bytes, categories."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

_UUID_BYTES = 16
_UUID_CUTS = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
# Well-formed UTF-8 in hexadecimal (The Unicode Standard, table 3-7).
_UTF8 = (
    "^(?:[0-7].|(?:c[2-9a-f]|d.)[89ab].|e0[ab].[89ab].|ed[89].[89ab].|e[1-9a-cef](?:[89ab].){2}"
    "|f0[9ab].(?:[89ab].){2}|f[1-3](?:[89ab].){3}|f48.(?:[89ab].){2})*$"
)
_CONTROL = "^(?:..)*?(?:[01].|7f)"  # a control character in hexadecimal


def is_readable(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds single values."""
    return not (dtype.is_nested() or isinstance(dtype, pl.Object))


def text(series: pl.Series, *, binary_ids: bool = False) -> pl.Series:
    """The column as text, null where there is nothing.

    Whole numbers lose a fraction of zero, so that an id is the same text whether its column is an
    integer or a float. Bytes are read as UTF-8; where they are not, they become null, or with
    `binary_ids` a UUID (16 bytes) or hexadecimal digits.
    """
    if isinstance(series.dtype, pl.Binary):
        written = _from_bytes(series, binary_ids=binary_ids)
    elif series.dtype.is_float() or series.dtype.is_decimal():
        written = series.cast(pl.String).str.replace(r"\.0+$", "")
    else:
        written = series.cast(pl.String)
    frame = written.to_frame()
    return frame.select(pl.when(cs.all() != "").then(cs.all())).to_series()


def _from_bytes(series: pl.Series, *, binary_ids: bool) -> pl.Series:
    may_be_uuids = binary_ids and (series.bin.size() == _UUID_BYTES).any()
    if not may_be_uuids:
        try:
            return series.cast(pl.String)
        except pl.exceptions.ComputeError:
            pass  # some value is not UTF-8: look at each
    digits = series.bin.encode("hex")
    readable = digits.str.contains(_UTF8)
    if may_be_uuids:
        is_long = series.bin.size() == _UUID_BYTES
        readable &= ~(is_long & digits.str.contains(_CONTROL))
    plain = series.zip_with(readable.fill_null(value=False), series.clear(len(series)))
    return (
        plain.cast(pl.String).fill_null(_identifiers(digits))
        if binary_ids
        else (plain.cast(pl.String))
    )


def _identifiers(digits: pl.Series) -> pl.Series:
    parts = [digits.str.slice(start, length) for start, length in _UUID_CUTS]
    written = pl.select(pl.concat_str(parts, separator="-")).to_series()
    return written.zip_with(digits.str.len_bytes() == 2 * _UUID_BYTES, digits)
