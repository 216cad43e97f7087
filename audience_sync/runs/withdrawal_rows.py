"""What is told of the rows of a file of withdrawals: which somebody should look at."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from audience_sync.identifiers.countries import ALIASES, WITH_PHONES
from audience_sync.identifiers.phones import to_e164
from audience_sync.membership.digests import Mask
from audience_sync.runs.withdrawal_requests import Received

# Columns beside those that the file has; they may be missing.
ROW = "row"  # the number of each row, where it is not simply the next one
UNEVEN = "uneven"  # whether a row is not as long as the header, and was left out
TIMELESS = "timeless"  # whether its time is there and cannot be read
UNPLACED = "unplaced"  # whether its phone was left out, since nobody knows the country it names
_NAMED = 5  # rows that are named


@dataclass
class Rows:
    """Counts rows, and names the first of those that are not as they should be."""

    people: int = 0
    earlier: int = 0
    _read: int = 0
    _counts: dict[str, int] = field(default_factory=dict)
    _named: dict[str, list[int]] = field(default_factory=dict)

    def add(self, frame: pl.DataFrame, usable: Mask, earlier: Mask) -> None:
        """Rows of which these hold an identifier that can be used, and were decided earlier."""
        numbers = np.arange(self._read + 1, self._read + 1 + frame.height)
        if ROW in frame.columns:
            numbers = frame[ROW].to_numpy()
        self._read += frame.height
        self.people += int(usable.sum())
        self.earlier += int((usable & earlier).sum())
        self._note("unusable", numbers, ~usable)
        self._note("uneven", numbers, _marked(frame, UNEVEN))
        self._note("timeless", numbers, _marked(frame, TIMELESS) & usable)
        self._note("unplaced", numbers, _marked(frame, UNPLACED))

    def received(self, *withdrawals: str) -> Received:
        """All of them, taken in as these withdrawals."""
        return Received(
            withdrawals=withdrawals,
            people=self.people,
            earlier=self.earlier,
            unusable=self._counts["unusable"],
            unusable_rows=tuple(self._named["unusable"]),
            uneven=self._counts["uneven"],
            timeless=self._counts["timeless"],
            timeless_rows=tuple(self._named["timeless"]),
            unplaced=self._counts["unplaced"],
            unplaced_rows=tuple(self._named["unplaced"]),
        )

    def _note(self, what: str, numbers: NDArray[np.int64], rows: Mask) -> None:
        self._counts[what] = self._counts.get(what, 0) + int(rows.sum())
        first = numbers[rows][:_NAMED].tolist()
        self._named[what] = sorted([*self._named.get(what, []), *first])[:_NAMED]


def placed(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows without phones that are dialled in a country that nobody knows.

    The default country would make somebody else's of them. One that begins with + stays.
    """
    if not {"phone", "country"} <= set(frame.columns):
        return frame
    country = frame["country"].str.strip_chars().str.to_uppercase().fill_null("")
    named = frame["phone"].str.strip_chars().fill_null("") != ""
    lost = named & (country != "") & ~country.is_in(list(WITH_PHONES | ALIASES.keys()))
    lost &= to_e164(frame["phone"].set(~lost, None), None, None).is_null()
    if not lost.any():
        return frame
    return frame.with_columns(frame["phone"].set(lost, None), lost.alias(UNPLACED))


def _marked(frame: pl.DataFrame, column: str) -> Mask:
    if column not in frame.columns:
        return np.zeros(frame.height, dtype=np.bool_)
    found: Mask = frame[column].to_numpy()
    return found
