"""Numbering plans: `phonenumbers`' own metadata as column expressions.

`phonenumbers` judges one number at a time, in about 20 µs. The same patterns, run over a column,
give the same answer in a hundredth of that for all but a few odd cases; those are left open.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import phonenumbers
import polars as pl
from numpy.typing import NDArray
from phonenumbers.phonemetadata import PhoneMetadata, PhoneNumberDesc

Mask = NDArray[np.bool_]

REGIONS: tuple[str, ...] = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))
_number = pl.col("number")
_digits = pl.col("digits")
_length = _number.str.len_bytes()


class Verdict(NamedTuple):
    """Calling code and national number as one text (null: none), and the rows left open."""

    numbers: pl.Series
    open: Mask


class Plan(NamedTuple):
    """What a region's people dial, and what its numbers look like.

    Expressions read the column `number`, or `digits` where a prefix is still on.
    """

    code: str  # calling code, e.g. "46"
    stripped: pl.Expr  # `digits` without the trunk prefix
    foreign: pl.Expr  # whether `digits` begin with what is dialled before a foreign number
    transforms: bool  # the trunk prefix rewrites the number: a matter for the library
    pattern: pl.Expr  # the library's general description
    possible: pl.Expr  # the same, of a possible length
    longest: int
    mobile: pl.Expr  # valid, as most customers' numbers are
    other: pl.Expr  # valid, as another type
    claimed: pl.Expr | None  # this region's, among those that share the code; None: if valid


@cache
def plan(region: str) -> Plan:
    """The plan of a region such as "SE"."""
    found = _metadata(region)
    general = found.general_desc
    possible = _pattern(general) & _lengths(general.possible_length)
    mobile, *others = _types(found)
    leading = found.leading_digits
    return Plan(
        code=str(found.country_code),
        stripped=_stripped(found.national_prefix_for_parsing or None),
        foreign=_foreign(found.international_prefix),
        transforms=bool(found.national_prefix_transform_rule),
        pattern=_pattern(general),
        possible=possible,
        longest=max(general.possible_length),
        mobile=possible & mobile,
        other=possible & pl.any_horizontal(*others) if others else pl.lit(value=False),
        claimed=_number.str.contains(f"^(?:{_ascii(leading)})") if leading else None,
    )


@cache
def dials_00(region: str) -> bool:
    """Whether 00 is dialled before a calling code."""
    prefix = _metadata(region).international_prefix or ""
    return bool(prefix.split("|")[0] == "00")


@cache
def regions_of(code: int) -> tuple[str, ...]:
    """The regions that share a calling code, the main one first; () for an unknown code."""
    regions = phonenumbers.region_codes_for_country_code(code)
    return tuple(region for region in regions if region in phonenumbers.SUPPORTED_REGIONS)


def settle_region(digits: pl.Series, home: Mask, region: str) -> Verdict:
    """Settle numbers by a region's plan.

    `home` marks those dialled within the region; the others followed + or 00 and start with the
    calling code, whose main region this then is.
    """
    ours = plan(region)
    frame = pl.DataFrame({"digits": digits, "home": home}).select(
        pl.when("home").then(_digits).otherwise(_digits.str.slice(len(ours.code))).alias("digits"),
        "home",
    )
    numbers, flags = _strip(frame, ours)
    valid = _valid(numbers, int(ours.code))
    open_ = _doubtful(frame["digits"], flags, valid, ours)
    coded = home & flags["coded"].to_numpy()
    open_ |= (home & flags["foreign"].to_numpy()) | (coded & valid & ~flags["possible"].to_numpy())
    # People also leave the + away: what is no number at home may start with the calling code.
    again = np.flatnonzero(coded & ~valid & ~open_)
    if len(again):
        rest, valid[again], open_[again] = _without_code(frame["digits"].gather(again), ours)
        numbers = numbers.scatter(again, rest)
    return Verdict(_written(numbers, valid & ~open_, ours), open_)


def _strip(frame: pl.DataFrame, ours: Plan) -> tuple[pl.Series, pl.DataFrame]:
    """The digits without a trunk prefix, and what there is to know before judging them."""
    found = frame.with_columns(number=ours.stripped)
    flags = found.select(
        dialled=_length != _digits.str.len_bytes(),
        possible=ours.possible,
        coded=_digits.str.starts_with(ours.code),
        foreign=ours.foreign,
    )
    return found["number"], flags


def _doubtful(digits: pl.Series, flags: pl.DataFrame, valid: Mask, ours: Plan) -> Mask:
    """Where the library might have kept the trunk prefix as a part of the number."""
    dialled: Mask = flags["dialled"].to_numpy()
    doubtful: Mask = dialled & (ours.transforms | (valid & ~flags["possible"].to_numpy()))
    unclear = np.flatnonzero(dialled & ~valid)
    if len(unclear):
        doubtful[unclear] |= _valid(digits.gather(unclear), int(ours.code))
    return doubtful


def _without_code(digits: pl.Series, ours: Plan) -> tuple[pl.Series, Mask, Mask]:
    """Numbers less the calling code that they start with; the valid ones, and the doubtful."""
    rest = digits.str.slice(len(ours.code)).alias("digits")
    _, flags = _strip(rest.to_frame(), ours)
    valid = _valid(rest, int(ours.code))
    doubtful = flags["dialled"].to_numpy() | (valid & ~_holds(rest, ours.pattern))
    misread = _holds(digits, ~ours.pattern | (_length > ours.longest))
    return rest, valid & misread, doubtful


def _written(numbers: pl.Series, wanted: Mask, ours: Plan) -> pl.Series:
    condition = pl.when(pl.Series(wanted))
    return pl.select(condition.then(pl.lit(f"+{ours.code}") + numbers)).to_series()


def _valid(numbers: pl.Series, code: int) -> Mask:
    """What `phonenumbers.is_valid_number` says: the first region that claims a number judges it."""
    found = np.zeros(len(numbers), dtype=np.bool_)
    unclaimed = np.arange(len(numbers))
    for judge in map(plan, regions_of(code)):
        if not len(unclaimed):
            break
        left = numbers.gather(unclaimed)
        valid = _judge(left, judge)
        claimed = valid if judge.claimed is None else _holds(left, judge.claimed)
        found[unclaimed] = valid & claimed
        unclaimed = unclaimed[~claimed]
    return found


def _judge(numbers: pl.Series, judge: Plan) -> Mask:
    valid = _holds(numbers, judge.mobile).copy()
    rest = np.flatnonzero(~valid)
    if len(rest):
        valid[rest] = _holds(numbers.gather(rest), judge.other)
    return valid


def _holds(numbers: pl.Series, condition: pl.Expr) -> Mask:
    found = numbers.alias("number").to_frame().select(condition).to_series()
    return found.to_numpy().astype(np.bool_, copy=False)


def _stripped(trunk: str | None) -> pl.Expr:
    if trunk is None:
        return _digits
    if trunk.isdigit():
        return _digits.str.strip_prefix(trunk)
    return _digits.str.replace(f"^(?:{_ascii(trunk)})", "")


def _foreign(international: str | None) -> pl.Expr:
    """Whether digits begin with an international prefix other than 00, which is known by now."""
    if international is None or international == "00":
        return _digits.is_null()  # never
    return _digits.str.contains(f"^(?:{_ascii(international)})")


def _types(found: Any) -> list[pl.Expr]:
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


def _metadata(region: str) -> Any:
    # Any: the library's stubs call optional what every region has.
    return PhoneMetadata.metadata_for_region(region)


def _pattern(described: PhoneNumberDesc) -> pl.Expr:
    return _matches(described.national_number_pattern or "")


def _matches(pattern: str) -> pl.Expr:
    return _number.str.contains(f"^(?:{_ascii(pattern)})$")


def _lengths(lengths: Sequence[int]) -> pl.Expr:
    if not lengths:  # any that the general description has
        return pl.lit(value=True)
    return pl.any_horizontal(*(_length == length for length in lengths))


def _ascii(pattern: str) -> str:
    # Numbers are ASCII by now, and the ASCII class keeps the automaton small.
    return pattern.replace(r"\d", "[0-9]")
