"""The rules that drop a customer for one named reason, judged in columns.

Everything here is closed by default: what is not known, not believable or not understood counts
against sharing. A time more than a day ahead of now is not believed; it is a wrong clock or a
placeholder. The exact rules:

- `third_party_origin`: `origins` is set and the origin is missing or not one of them.
- `account_closed`: an account status is mapped and is anything but `active` or `open`.
- `under_age`: `minimum_age` is set and the birth date is missing, later than it may be, or more
  than 130 years ago.
- `inactive_too_long`: `keep_after_last_activity` is set and the last activity is missing, too long
  ago or not believable.
- `no_consent`: no decision that we understand, or a grant dated in the future.
- `consent_expired`: `consent_max_age` is set and the grant is older, or its time is unknown.

A refusal counts whatever its date.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from audience_sync.customers.description import PolicyRules
from audience_sync.errors import ConfigurationError
from audience_sync.period import Period

NO_TIME: Final = int(np.iinfo(np.int64).min)  # stands for an unknown time among microseconds
NO_REASON: Final = -1
MERGED: Final = "merged"  # a duplicate of one person; no drop, so not among the reasons

_CLOCK_TOLERANCE = timedelta(days=1)
_OLDEST = 130  # years; an earlier birth date is a placeholder
_OPEN_ACCOUNT = ("active", "open")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reason(IntEnum):
    """Why a row is dropped; the lowest number wins where several apply."""

    THIRD_PARTY_ORIGIN = 0
    ACCOUNT_CLOSED = 1
    UNDER_AGE = 2
    OBJECTED = 3
    CONSENT_WITHDRAWN = 4
    CONSENT_DENIED = 5
    NO_CONSENT = 6
    CONSENT_EXPIRED = 7
    INACTIVE_TOO_LONG = 8
    SUPPRESSED = 9
    NOT_IN_AUDIENCE = 10
    NO_USABLE_IDENTIFIER = 11


class Word(IntEnum):
    """What a customer said about sharing, from nothing to the strongest refusal."""

    NONE = 0
    GRANTED = 1
    DENIED = 2
    WITHDRAWN = 3
    OBJECTED = 4


_WORDS = {
    "true": Word.GRANTED,
    "1": Word.GRANTED,
    "1.0": Word.GRANTED,  # a CSV made by way of floats
    "yes": Word.GRANTED,
    "granted": Word.GRANTED,
    "false": Word.DENIED,
    "0": Word.DENIED,
    "0.0": Word.DENIED,
    "no": Word.DENIED,
    "denied": Word.DENIED,
    "withdrawn": Word.WITHDRAWN,
    "objected": Word.OBJECTED,
    "unknown": Word.NONE,
    "null": Word.NONE,
    "": Word.NONE,
}
_NOT_A_WORD = 255
_FEW = 32  # spellings in a batch; more are read row by row
_FIRST = np.full(1 << len(Reason), NO_REASON, dtype=np.int8)
for _reason in reversed(Reason):
    _FIRST.reshape(-1, 2, 1 << _reason)[:, 1] = _reason


def bit(reason: Reason) -> np.uint16:
    """The bit that stands for a reason."""
    return np.uint16(1 << reason)


def microseconds(moment: datetime) -> int:
    """A moment as microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def words(series: pl.Series) -> tuple[NDArray[np.uint8], int]:
    """What each raw word says, and how many words nobody knows; those count as no decision."""
    raw = series.cast(pl.String)
    spellings = raw.unique()
    if len(spellings) > _FEW:
        said = _said(raw)
    else:
        # The same few spellings again and again: each is read once.
        spellings = spellings.drop_nulls()
        codes = raw.cast(pl.Enum(spellings)).to_physical().fill_null(len(spellings))
        read = np.append(_said(spellings), np.uint8(Word.NONE))
        said = read.take(codes.to_numpy())
    unknown = said == _NOT_A_WORD
    if not unknown.any():
        return said, 0
    return np.where(unknown, np.uint8(Word.NONE), said), int(unknown.sum())


def _said(written: pl.Series) -> NDArray[np.uint8]:
    known = written.str.strip_chars().str.to_lowercase().fill_null("")
    return known.replace_strict(
        list(_WORDS),
        [int(word) for word in _WORDS.values()],
        default=_NOT_A_WORD,
        return_dtype=pl.UInt8,
    ).to_numpy()


def believed(
    word: NDArray[np.uint8], decided_at: NDArray[np.int64], now: datetime
) -> NDArray[np.uint8]:
    """What each word says, and nothing where it is a grant dated in the future.

    Told before words are compared: such a grant must not outlast a refusal that is real.
    """
    in_future = decided_at > microseconds(now + _CLOCK_TOLERANCE)
    return np.where((word == Word.GRANTED) & in_future, np.uint8(Word.NONE), word)


def check_rules(rules: PolicyRules, mapped: Collection[str], *, decisions: bool = False) -> None:
    """Refuse a rule whose column is not mapped: judged without it, nobody would remain.

    `decisions` says whether a decisions source, which brings its own times, is described.
    """
    needs = [
        ("origins", rules.origins is not None, "origin"),
        ("minimum_age", rules.minimum_age is not None, "birth_date"),
        (
            "keep_after_last_activity",
            rules.keep_after_last_activity is not None,
            "last_activity_at",
        ),
        ("consent_max_age", rules.consent_max_age is not None and not decisions, "consent_at"),
    ]
    for rule, is_set, column in needs:
        if is_set and column not in mapped:
            raise ConfigurationError(
                f"policy.{rule} needs the column {column}: map it under source.columns, "
                "or leave the rule out"
            )


def attribute_reasons(frame: pl.DataFrame, rules: PolicyRules, now: datetime) -> NDArray[np.uint16]:
    """The reasons that lie in a customer's attributes, as bits; `frame` has canonical columns."""
    bits = np.zeros(frame.height, dtype=np.uint16)
    if rules.origins is not None:
        origins = {origin.strip().lower() for origin in rules.origins}
        bits |= _drop(~_is_one_of(frame, "origin", origins), Reason.THIRD_PARTY_ORIGIN)
    if "account_status" in frame.columns:
        open_account = _is_one_of(frame, "account_status", _OPEN_ACCOUNT)
        bits |= _drop(~open_account, Reason.ACCOUNT_CLOSED)
    if rules.minimum_age is not None:
        bits |= _drop(~_of_age(frame, rules.minimum_age, now), Reason.UNDER_AGE)
    if rules.keep_after_last_activity is not None:
        active = _active(frame, rules.keep_after_last_activity, now)
        bits |= _drop(~active, Reason.INACTIVE_TOO_LONG)
    return bits


def decision_reasons(
    word: NDArray[np.uint8], decided_at: NDArray[np.int64], rules: PolicyRules, now: datetime
) -> NDArray[np.uint16]:
    """The reasons that lie in a decision, as bits; an unknown time is `NO_TIME`."""
    granted = word == Word.GRANTED
    in_future = decided_at > microseconds(now + _CLOCK_TOLERANCE)
    refused = (word >= Word.DENIED) & (word <= Word.OBJECTED)
    bits = _drop(word == Word.OBJECTED, Reason.OBJECTED)
    bits |= _drop(word == Word.WITHDRAWN, Reason.CONSENT_WITHDRAWN)
    bits |= _drop(word == Word.DENIED, Reason.CONSENT_DENIED)
    bits |= _drop(~(granted & ~in_future) & ~refused, Reason.NO_CONSENT)
    if rules.consent_max_age is not None:
        # NO_TIME is the earliest time there is, so an unknown time is expired too.
        expired = decided_at < microseconds(rules.consent_max_age.before(now))
        bits |= _drop(granted & expired, Reason.CONSENT_EXPIRED)
    return bits


def first_reason(bits: NDArray[np.uint16]) -> NDArray[np.int8]:
    """The reason that a row is dropped for, by the order of judging; `NO_REASON` when none."""
    first: NDArray[np.int8] = _FIRST[bits]
    return first


def _drop(rows: NDArray[np.bool_], reason: Reason) -> NDArray[np.uint16]:
    return rows.astype(np.uint16) << np.uint16(reason)


def _none(frame: pl.DataFrame) -> NDArray[np.bool_]:
    return np.zeros(frame.height, dtype=np.bool_)


def _is_one_of(frame: pl.DataFrame, column: str, wanted: Collection[str]) -> NDArray[np.bool_]:
    if column not in frame.columns:
        return _none(frame)
    values = frame[column].cast(pl.String)
    distinct = values.unique()
    accepted = distinct.filter(distinct.str.strip_chars().str.to_lowercase().is_in(list(wanted)))
    return values.is_in(accepted.implode()).fill_null(value=False).to_numpy()


def _of_age(frame: pl.DataFrame, minimum_age: int, now: datetime) -> NDArray[np.bool_]:
    if "birth_date" not in frame.columns:
        return _none(frame)
    latest = Period(minimum_age, "year").before(now).date()
    earliest = Period(_OLDEST, "year").before(now).date()
    return frame["birth_date"].is_between(earliest, latest).fill_null(value=False).to_numpy()


def _active(frame: pl.DataFrame, keep: Period, now: datetime) -> NDArray[np.bool_]:
    if "last_activity_at" not in frame.columns:
        return _none(frame)
    earliest, latest = microseconds(keep.before(now)), microseconds(now + _CLOCK_TOLERANCE)
    return frame["last_activity_at"].is_between(earliest, latest).fill_null(value=False).to_numpy()
