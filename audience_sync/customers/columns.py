"""The canonical columns: their names, and how whatever a source holds becomes them.

Text becomes `pl.String`, where an empty text counts as missing; moments become microseconds since
1970 in UTC (`pl.Int64`); birth dates become `pl.Date`. What cannot be read becomes null, never an
error: the policy treats unknown as closed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from enum import Enum
from types import MappingProxyType
from typing import Final

import polars as pl

from audience_sync.customers.moments import birth_dates, moments
from audience_sync.customers.text import is_readable, text
from audience_sync.errors import ConfigurationError

# In a file without a header the first customer stands where the names should be.
_NAME = re.compile(r"^(?!.*\d{5})[^\W\d][^@\x00-\x1f]{0,63}$")
_SHOWN = 20  # columns listed in an error


class Content(Enum):
    """What a canonical column holds."""

    TEXT = "text"
    ID = "id"  # text that may arrive as binary UUIDs
    CONSENT = "consent"
    MOMENT = "moment"
    DATE = "date"


CUSTOMER_COLUMNS: Final[Mapping[str, Content]] = MappingProxyType(
    {
        "customer_id": Content.ID,
        "email": Content.TEXT,
        "phone": Content.TEXT,
        "idfa": Content.ID,
        "gaid": Content.ID,
        "external_id": Content.ID,
        "country": Content.TEXT,
        "consent": Content.CONSENT,
        "consent_at": Content.MOMENT,
        "account_status": Content.TEXT,
        "last_activity_at": Content.MOMENT,
        "birth_date": Content.DATE,
        "origin": Content.TEXT,
    }
)
DECISION_COLUMNS: Final[Mapping[str, Content]] = MappingProxyType(
    {
        "customer_id": Content.ID,
        "decision": Content.CONSENT,
        "decided_at": Content.MOMENT,
        "partner": Content.TEXT,
        "channel": Content.TEXT,
    }
)
ORDER_COLUMNS: Final[Mapping[str, Content]] = MappingProxyType(
    {
        "order_id": Content.ID,
        "customer_id": Content.ID,
        "ordered_at": Content.MOMENT,
        "sku": Content.ID,
        "name": Content.TEXT,
        "quantity": Content.TEXT,
        "amount": Content.TEXT,
        "currency": Content.TEXT,
        "status": Content.TEXT,
        "click_id": Content.ID,
        "landed_at": Content.MOMENT,
        "customer_status": Content.TEXT,
    }
)
CONTENT: Final[Mapping[str, Content]] = MappingProxyType(
    {**CUSTOMER_COLUMNS, **DECISION_COLUMNS, **ORDER_COLUMNS}
)
AUDIENCE_PREFIX: Final = "audience:"


def canonical(frame: pl.DataFrame, label: str) -> pl.DataFrame:
    """A frame under our names, as the source gave it, brought to canonical types."""
    return pl.DataFrame([_column(series, label) for series in frame.get_columns()])


def find_column(label: str, ours: str, theirs: str, names: Collection[str], place: str) -> str:
    """Their column's name, or the ConfigurationError that says which columns there are."""
    found = sum(name == theirs for name in names)
    if found == 1:
        return theirs
    if found:
        raise ConfigurationError(
            f'{label}.columns.{ours} names "{theirs}", which {place} has more than once; '
            "give its columns different names"
        )
    raise ConfigurationError(
        f'{label}.columns.{ours} names "{theirs}", but {place} has no such column; '
        + describe_columns(theirs, names)
    )


def describe_columns(wanted: str, names: Collection[str]) -> str:
    """Which columns there are, the closest first in words."""
    if not names:
        return "there are no columns at all"
    if not all(map(_NAME.match, names)):
        return "its columns look like values, so they are not told; has it a header?"
    lower = {name.lower(): name for name in names}
    close = get_close_matches(wanted.lower(), lower, n=1)
    hint = f'did you mean "{lower[close[0]]}"? ' if close else ""
    rest = ", …" if len(names) > _SHOWN else ""
    return f"{hint}There are: {', '.join(list(names)[:_SHOWN])}{rest}"


def _column(series: pl.Series, label: str) -> pl.Series:
    if series.name.startswith(AUDIENCE_PREFIX):
        return series.cast(pl.Boolean).fill_null(value=False)
    if not is_readable(series.dtype):
        raise ConfigurationError(
            f"the column mapped to {label}.columns.{series.name} holds lists or structures; "
            "map a column of single values"
        )
    content = CONTENT[series.name]
    if content is Content.MOMENT:
        return moments(series)
    if content is Content.DATE:
        return birth_dates(series)
    written = text(series, binary_ids=content is Content.ID)
    if content is Content.CONSENT and series.dtype.is_numeric():
        # A database without a Boolean type writes numbers; of text the policy reads each spelling.
        return written.replace({"1": "true", "0": "false"})
    return written
