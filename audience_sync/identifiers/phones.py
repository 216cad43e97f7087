"""Phone numbers as people type them, to E.164, agreeing with the `phonenumbers` library."""

from __future__ import annotations

from typing import NamedTuple

import phonenumbers
import polars as pl

from audience_sync.identifiers.texts import MAXIMUM_BYTES


class Settled(NamedTuple):
    """E.164 text per row (null: none), and how many distinct values needed the library."""

    numbers: pl.Series
    by_library: int


def to_e164(
    values: pl.Series, countries: pl.Series | None, default_country: str | None
) -> pl.Series:
    """Each phone number as E.164 text; null when the library does not call it valid."""
    return settle(values, countries, default_country).numbers


def settle(values: pl.Series, countries: pl.Series | None, default_country: str | None) -> Settled:
    """As `to_e164`, and how often the library was needed."""
    frame = pl.DataFrame({"value": values}).with_columns(
        (countries.str.strip_chars().str.to_uppercase() if countries is not None else pl.lit(None))
        .fill_null(default_country or "")
        .alias("region")
    )
    distinct = frame.unique().filter(pl.col("value").str.len_bytes() <= MAXIMUM_BYTES)
    known = distinct.with_columns(
        e164=pl.Series(
            [_ask(v, r) for v, r in distinct.iter_rows()],
            dtype=pl.String,
        )
    )
    joined = frame.join(known, on=["value", "region"], how="left", maintain_order="left")
    return Settled(joined["e164"], len(known))


def _ask(value: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(value, region or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
