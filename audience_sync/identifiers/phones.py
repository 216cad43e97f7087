"""Phone numbers as people type them, to E.164, agreeing with the `phonenumbers` library.

A number counts when the library calls it valid. Columns settle most numbers; the library settles
the distinct rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import phonenumbers
import polars as pl
from numpy.typing import NDArray

from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.countries import ALIASES
from audience_sync.identifiers.numbering import (
    REGIONS,
    Mask,
    Verdict,
    dials_00,
    regions_of,
    settle_region,
)
from audience_sync.identifiers.texts import LIKE_SHA256

# Fewer numbers than this of one country are settled sooner one by one than as a column.
FEW = 32

_LONGEST = 250  # characters; the library's own limit
# Nothing in it that the library reads in a special way: letters, extensions, a second number.
_SIMPLE = r"^[\x00-*,-/:-\x7f]*\+*[0-9 ().\-/\[\]]*$"
_SPACES = r"[\s\x1c-\x1f\x{180e}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2060}\x{feff}]+"
_HYPHENS = r"[\x{2010}-\x{2015}\x{2212}]"

# Rows are settled in groups of one key: the position in REGIONS of the country that a number is
# dialled in, or of the main country of the calling code that it starts with.
_NOBODY = -1  # no number, or no country to dial it from
_UNKNOWN = -2  # a calling code of no region; the library knows what to do


class Settled(NamedTuple):
    """E.164 text per row (null: none); the rows left to the library, and how often it was asked."""

    numbers: pl.Series
    open_rows: int
    asked: int


class _Dialled(NamedTuple):
    keys: NDArray[np.int16]
    home: Mask  # dialled within the country; others start with a calling code
    digits: pl.Series


def to_e164(
    values: pl.Series, countries: pl.Series | None, default_country: str | None
) -> pl.Series:
    """Each phone number as E.164 text; null when the library does not call it valid."""
    return settle(values, countries, default_country).numbers


def settle(
    values: pl.Series,
    countries: pl.Series | None,
    default_country: str | None,
    *,
    few: int = FEW,
) -> Settled:
    """As `to_e164`, and how often the library was needed."""
    regions = _regions(len(values), countries, default_country)
    texts, simple, open_ = _clean(values)
    dialled = _dialled(texts, simple, regions)
    pieces, orders = [], []
    for key, rows in _groups(dialled.keys):
        verdict = _verdict(dialled.digits.gather(rows), dialled.home[rows], key, few)
        open_[rows] |= verdict.open
        pieces.append(verdict.numbers)
        orders.append(rows)
    numbers = _in_order(pieces, orders)
    left = np.flatnonzero(open_)
    if not len(left):
        return Settled(numbers, 0, 0)
    answers, asked = _ask_library(texts.gather(left), regions[left])
    return Settled(numbers.scatter(left, answers), len(left), asked)


def _clean(values: pl.Series) -> tuple[pl.Series, Mask, Mask]:
    """The texts to read, which of them are simple, and which only the library can read."""
    short = _mask(values.str.len_chars() <= _LONGEST)
    simple = _mask(values.str.contains(_SIMPLE)) & short
    rest = np.flatnonzero(~simple & short)
    texts, open_ = values, np.zeros(len(values), dtype=np.bool_)
    if len(rest):
        again = values.gather(rest).str.replace_all(_SPACES, " ").str.replace_all(_HYPHENS, "-")
        again = again.str.strip_chars(" ,;:!?'\"")
        texts = values.clone().scatter(rest, again)  # scatter writes in place
        simple[rest] = _mask(again.str.contains(_SIMPLE))
        readable = again.str.contains(r"\d") & ~again.str.contains(LIKE_SHA256)
        open_[rest] = _mask(readable) & ~simple[rest]
    return texts, simple, open_


def _dialled(texts: pl.Series, simple: Mask, regions: NDArray[np.int16]) -> _Dialled:
    """Tell numbers with a calling code (+ or 00) from those dialled at home."""
    digits = texts.str.replace_all("[^0-9]+", "")
    keys = np.where(simple & _mask(digits.str.len_bytes() > 0), regions, _NOBODY).astype(np.int16)
    plus = simple & _mask(texts.str.contains("+", literal=True))
    zeros = simple & ~plus & _dials_00(regions) & _mask(digits.str.starts_with("00"))
    zeros &= ~_mask(digits.str.starts_with("000"))  # no calling code begins with 0
    digits = pl.select(
        pl.when(pl.Series(zeros)).then(digits.str.slice(2)).otherwise(digits)
    ).to_series()
    home = ~(plus | zeros)
    abroad = np.flatnonzero(~home)
    heads = digits.gather(abroad).str.slice(0, 3).cast(pl.Int16, strict=False)
    keys[abroad] = _calling_codes()[heads.fill_null(0).to_numpy()]
    return _Dialled(keys, home, digits)


def _groups(keys: NDArray[np.int16]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    order = np.argsort(keys, kind="stable")
    found, starts = np.unique(keys[order], return_index=True)
    ends = [*starts[1:].tolist(), len(order)]
    for key, start, end in zip(found.tolist(), starts.tolist(), ends[: len(found)], strict=True):
        yield key, order[start:end]


def _verdict(digits: pl.Series, home: Mask, key: int, few: int) -> Verdict:
    if key == _NOBODY:
        return _none(len(digits), open_=False)
    if key == _UNKNOWN or len(digits) < few:
        return _none(len(digits), open_=True)
    return settle_region(digits, home, REGIONS[key])


def _none(rows: int, *, open_: bool) -> Verdict:
    nulls = pl.Series([None], dtype=pl.String).new_from_index(0, rows)
    return Verdict(nulls, np.full(rows, open_, dtype=np.bool_))


def _in_order(pieces: list[pl.Series], orders: list[NDArray[np.int64]]) -> pl.Series:
    if not pieces:
        return pl.Series([], dtype=pl.String)
    order = np.concatenate(orders)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return pl.concat([piece.alias("phone") for piece in pieces]).gather(place)


def _ask_library(texts: pl.Series, regions: NDArray[np.int16]) -> tuple[pl.Series, int]:
    questions = pl.DataFrame({"text": texts, "region": regions})
    distinct = questions.unique()
    answers = pl.Series([_ask(*question) for question in distinct.iter_rows()], dtype=pl.String)
    known = distinct.with_columns(answer=answers)
    joined = questions.join(known, on=["text", "region"], how="left", maintain_order="left")
    return joined["answer"], len(distinct)


def _ask(text: str, region: int) -> str | None:
    try:
        number = phonenumbers.parse(text, REGIONS[region] if region >= 0 else None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def default_region(country: str) -> int:
    """Its position in REGIONS; a ConfigurationError when the project names no country."""
    found = _positions().get(country.strip().upper(), _NOBODY)
    if found == _NOBODY:
        raise ConfigurationError(
            "policy.default_country is no ISO 3166 alpha-2 country such as SE or DE; correct it"
        )
    return found


def _regions(
    rows: int, countries: pl.Series | None, default_country: str | None
) -> NDArray[np.int16]:
    """Each row's region as a position in REGIONS, or _NOBODY."""
    default = _NOBODY if default_country is None else default_region(default_country)
    if countries is None:
        return np.full(rows, default, dtype=np.int16)
    known = _positions()
    found = countries.str.strip_chars().str.to_uppercase()
    positions = found.replace_strict(
        list(known), list(known.values()), default=default, return_dtype=pl.Int16
    )
    return positions.fill_null(default).to_numpy()


@cache
def _positions() -> dict[str, int]:
    own = {region: position for position, region in enumerate(REGIONS)}
    return own | {alias: own[region] for alias, region in ALIASES.items()}


def _dials_00(regions: NDArray[np.int16]) -> Mask:
    """Per row, whether 00 is dialled there before a calling code; no region's metadata in vain."""
    dials = np.zeros(len(REGIONS) + 1, dtype=np.bool_)  # place 0 is _NOBODY's
    for place in np.flatnonzero(np.bincount(regions + 1)).tolist():
        dials[place] = place > 0 and dials_00(REGIONS[place - 1])
    return dials[regions + 1]


@cache
def _calling_codes() -> NDArray[np.int16]:
    """The key for the first three digits of a number that starts with its calling code."""
    positions = _positions()
    keys = np.full(1000, _UNKNOWN, dtype=np.int16)
    for head in range(100, 1000):
        for code in (head // 100, head // 10, head):
            if regions_of(code):
                keys[head] = positions[regions_of(code)[0]]
                break
    return keys


def _mask(condition: pl.Series) -> Mask:
    return condition.fill_null(value=False).to_numpy().astype(np.bool_)
