"""Numbering plans: `phonenumbers`' own metadata as column expressions.

`phonenumbers` judges one number at a time, in about 20 µs. The same patterns, run over a column,
give the same answer in a hundredth of that for all but a few odd cases; those are left open.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import phonenumbers
import polars as pl
from numpy.typing import NDArray
from phonenumbers.phonemetadata import PhoneMetadata, PhoneNumberDesc

Mask = NDArray[np.bool_]

REGIONS: tuple[str, ...] = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))
_NUMBER = pl.col("number")
_LENGTH = _NUMBER.str.len_bytes()


class Verdict(NamedTuple):
    """Calling code and national number as one text (null: none), and the rows left open."""

    numbers: pl.Series
    open: Mask


class Plan(NamedTuple):
    """What a region's people dial, and what its numbers look like."""

    code: str  # calling code, e.g. "46"
    international: str | None  # what is dialled before a foreign number, as a pattern
    trunk: str | None  # what is dialled before a national number, as a pattern
    transforms: bool  # the trunk pattern rewrites the number; left to the library
    leading: str | None  # the digits that tell the region from others of the same code
    possible: pl.Expr  # the library's general description
    pattern: pl.Expr  # the same without lengths
    longest: int
    valid: pl.Expr


@cache
def plan(region: str) -> Plan:
    """The plan of a region such as "SE"."""
    found = PhoneMetadata.metadata_for_region(region)
    general = found.general_desc
    possible = _pattern(general) & _lengths(general.possible_length)
    return Plan(
        code=str(found.country_code),
        international=found.international_prefix,
        trunk=found.national_prefix_for_parsing or None,
        transforms=bool(found.national_prefix_transform_rule),
        leading=found.leading_digits,
        possible=possible,
        pattern=_pattern(general),
        longest=max(general.possible_length),
        valid=possible & pl.any_horizontal(*_types(found)),
    )


@cache
def regions_of(code: int) -> tuple[str, ...]:
    """The regions that share a calling code, the main one first; () for an unknown code."""
    regions = phonenumbers.region_codes_for_country_code(code)
    return tuple(region for region in regions if region in phonenumbers.SUPPORTED_REGIONS)


def settle_national(digits: pl.Series, region: str) -> Verdict:
    """Numbers without an international prefix, as dialled in a region."""
    ours = plan(region)
    verdict = _settle(digits, ours)
    if ours.international not in (None, "00"):
        foreign = _NUMBER.str.contains(f"^(?:{_ascii(ours.international)})")
        verdict.open[:] |= _holds(digits, foreign)
    # People also leave the + away: a number that is none may start with the calling code.
    coded = _holds(digits, _NUMBER.str.starts_with(ours.code))
    verdict.open[:] |= coded & verdict.numbers.is_not_null().to_numpy() & _shares(ours)
    again = np.flatnonzero(coded & ~verdict.open & verdict.numbers.is_null().to_numpy())
    if not len(again):
        return verdict
    whole = digits.gather(again)
    rest = whole.str.slice(len(ours.code))
    inner = _settle(rest, ours)
    told = _holds(whole, ~ours.pattern | (_LENGTH > ours.longest))
    doubtful = inner.open | _dialled(rest, ours)
    doubtful |= inner.numbers.is_not_null().to_numpy() & _shares(ours)
    verdict.open[again] = doubtful
    kept = pl.select(pl.when(pl.Series(told & ~doubtful)).then(inner.numbers)).to_series()
    return Verdict(verdict.numbers.scatter(again, kept), verdict.open)


def settle_international(digits: pl.Series, code: int) -> Verdict:
    """Numbers that follow + or 00, all of one calling code, which they start with."""
    return _settle(digits.str.slice(len(str(code))), plan(regions_of(code)[0]))


def _settle(numbers: pl.Series, ours: Plan) -> Verdict:
    """Strip the trunk prefix the way the library does, where it cannot matter how."""
    stripped = numbers
    dialled = np.zeros(len(numbers), dtype=np.bool_)
    if ours.trunk is not None:
        stripped = _strip(numbers, ours.trunk)
        dialled = _holds(numbers, _LENGTH) != _holds(stripped, _LENGTH)
    valid = _valid(stripped, int(ours.code))
    doubtful = dialled & ours.transforms
    if _shares(ours):
        doubtful |= dialled & valid & ~_holds(stripped, ours.possible)
    unclear = np.flatnonzero(dialled & ~valid)
    if len(unclear):  # the library keeps a trunk prefix that belongs to the number
        doubtful[unclear] |= _valid(numbers.gather(unclear), int(ours.code))
    written = pl.select(
        pl.when(pl.Series(valid & ~doubtful)).then(pl.lit(f"+{ours.code}") + stripped)
    )
    return Verdict(written.to_series(), doubtful)


def _valid(numbers: pl.Series, code: int) -> Mask:
    """What `phonenumbers.is_valid_number` says: the first region that claims a number judges it."""
    found = np.zeros(len(numbers), dtype=np.bool_)
    unclaimed = np.arange(len(numbers))
    for judge in map(plan, regions_of(code)):
        if not len(unclaimed):
            break
        left = numbers.gather(unclaimed)
        valid = _holds(left, judge.valid)
        claimed = valid
        if judge.leading is not None:
            claimed = _holds(left, _NUMBER.str.contains(f"^(?:{_ascii(judge.leading)})"))
        found[unclaimed[valid & claimed]] = True
        unclaimed = unclaimed[~claimed]
    return found


def _shares(ours: Plan) -> bool:
    return len(regions_of(int(ours.code))) > 1


def _dialled(numbers: pl.Series, ours: Plan) -> Mask:
    if ours.trunk is None:
        return np.zeros(len(numbers), dtype=np.bool_)
    return _holds(numbers, _NUMBER.str.contains(f"^(?:{_ascii(ours.trunk)})"))


def _strip(numbers: pl.Series, trunk: str) -> pl.Series:
    if trunk.isdigit():
        return numbers.str.strip_prefix(trunk)
    return numbers.str.replace(f"^(?:{_ascii(trunk)})", "")


def _holds(numbers: pl.Series, condition: pl.Expr) -> Mask:
    return numbers.alias("number").to_frame().select(condition).to_series().to_numpy()


def _types(found: PhoneMetadata) -> list[pl.Expr]:
    """A condition for each set of lengths, over the patterns of all types that share it."""
    patterns: dict[tuple[int, ...], list[str]] = {}
    for described in (
        found.mobile,
        found.fixed_line,
        found.toll_free,
        found.premium_rate,
        found.shared_cost,
        found.voip,
        found.personal_number,
        found.pager,
        found.uan,
        found.voicemail,
    ):
        if described is not None and described.national_number_pattern:
            lengths = tuple(described.possible_length)
            patterns.setdefault(lengths, []).append(described.national_number_pattern)
    return [_matches("|".join(alike)) & _lengths(lengths) for lengths, alike in patterns.items()]


def _pattern(described: PhoneNumberDesc) -> pl.Expr:
    return _matches(described.national_number_pattern)


def _matches(pattern: str) -> pl.Expr:
    return _NUMBER.str.contains(f"^(?:{_ascii(pattern)})$")


def _lengths(lengths: tuple[int, ...]) -> pl.Expr:
    return pl.any_horizontal(*(_LENGTH == length for length in lengths)) if lengths else pl.lit(True)  # noqa: FBT003 - polars' own signature


def _ascii(pattern: str) -> str:
    # Numbers are ASCII by now, and the ASCII class keeps the automaton small.
    return pattern.replace(r"\d", "[0-9]")
