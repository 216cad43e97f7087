"""Decisions from a source of their own meet the customers they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from audience_sync.customers.policy import NO_TIME, Word, believed, words
from audience_sync.errors import SourceError
from audience_sync.membership.crossing import ALWAYS, NEVER
from audience_sync.membership.digests import Bytes, match, sort_order, starts
from audience_sync.membership.spill import Kept
from audience_sync.runs.standing import customer_keys
from audience_sync.runs.survey import EARLIEST, Survey
from audience_sync.runs.surveyed import Judged, column_name
from audience_sync.runs.targets import Workspace

_EVERY_PARTNER = -1
_NOBODY = -2  # a partner that nobody knows
_ELSEWHERE = -3  # a partner that is not synced now


class DecisionJoin:
    """Customers and decisions wait by customer; `settle` gives each customer its latest word.

    `found` are customers and decisions that others took in.
    """

    def __init__(
        self,
        survey: Survey,
        groups: Mapping[str, int],
        space: Workspace,
        found: tuple[Kept, Kept] | None = None,
    ) -> None:
        self.unknown_words = 0
        self._survey = survey
        self._groups = groups
        self._customers = space.spill("customers")
        self._decisions = space.spill("decisions")
        self._found: tuple[Kept, Kept] = found or (self._customers, self._decisions)
        self._partitions = space.partitions

    @property
    def customers(self) -> int:
        """How many customers were taken in here."""
        return self._customers.rows

    @property
    def decisions(self) -> int:
        """How many decisions were taken in here."""
        return self._decisions.rows

    def take_decisions(self, frame: pl.DataFrame) -> None:
        """Keep a batch of decisions; words nobody knows are left out and counted.

        A refusal towards a partner that nobody knows counts for all; a grant then counts for none.
        What was said of a partner that is known, but not synced now, concerns nobody here.
        """
        word, unknown = words(frame["decision"])
        self.unknown_words += unknown
        at = frame["decided_at"].fill_null(NO_TIME).to_numpy()
        word = believed(word, at, self._survey.now)
        partner = frame["partner"].str.strip_chars().str.to_lowercase()
        general = (partner.is_null() | (partner == "")).to_numpy()
        names = partner.fill_null("").to_numpy()
        scope = np.full(len(word), _NOBODY, dtype=np.int8)
        scope[general] = _EVERY_PARTNER
        elsewhere = dict.fromkeys(self._survey.selection.partners, _ELSEWHERE)
        for name, group in (elsewhere | dict(self._groups)).items():
            scope[names == name.lower()] = group
        scope[(scope == _NOBODY) & (word >= Word.DENIED)] = _EVERY_PARTNER
        customer = customer_keys(frame["customer_id"])
        _refuse_nobodys(word, customer)
        kept = (word != Word.NONE) & (scope >= _EVERY_PARTNER) & customer.any(axis=1)
        columns = {
            "customer": customer[kept],
            "word": word[kept],
            "at": at[kept],
            "scope": scope[kept],
        }
        self._decisions.put(columns["customer"], columns)

    def take(self, frame: pl.DataFrame) -> None:
        """Judge and hash a batch of customers and keep it until all decisions are known."""
        judged = self._survey.judge(frame)
        columns: dict[str, NDArray[Any]] = {
            column_name(form): values
            for form, values in self._survey.write(frame, self._survey.forms).items()
        }
        customer = customer_keys(frame["customer_id"])
        columns |= {
            "customer": customer,
            "bits": judged.bits,
            "word": judged.word,
            "at": judged.at,
            "selected": judged.selected,
        }
        self._customers.put(customer, columns)

    def settle(self, partition: int) -> None:
        """Hand the customers of a partition, with their latest words, to the survey."""
        read = self._found[0].read
        customer, bits, word, at, selected = (
            read(partition, name) for name in ("customer", "bits", "word", "at", "selected")
        )
        if customer is None or bits is None or word is None or at is None or selected is None:
            return
        word, at = self._latest(partition, customer, word.copy(), at.copy())
        written: dict[Any, Bytes] = {}
        for form in self._survey.forms:
            values = read(partition, column_name(form))
            if values is not None:
                written[form] = values
        self._survey.take_judged(Judged(bits, word, at, selected), written)

    def finish(self) -> None:
        """No more customers or decisions come; `settle` each partition now."""
        self._customers.finish()
        self._decisions.finish()

    def discard(self) -> None:
        """Delete the files."""
        self._customers.discard()
        self._decisions.discard()

    def _latest(
        self, partition: int, customer: Bytes, word: NDArray[np.uint8], at: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        for group in sorted({_EVERY_PARTNER, *self._groups.values()}):
            decided = _latest_of(self._found[1], partition, group)
            if decided is None:
                continue
            keys, words_, times = decided
            place = match(customer, keys)
            known = np.flatnonzero(place >= 0)
            concerned = range(word.shape[1]) if group == _EVERY_PARTNER else [group]
            for column in concerned:
                newer = _wins(
                    words_[place[known]],
                    times[place[known]],
                    word[known, column],
                    at[known, column],
                )
                rows = known[newer]
                word[rows, column] = words_[place[rows]]
                at[rows, column] = times[place[rows]]
        return word, at


def _refuse_nobodys(word: NDArray[np.uint8], customer: Bytes) -> None:
    """A refusal that concerns nobody we can name would be lost without a trace (L1)."""
    lost = int(((word >= Word.DENIED) & ~customer.any(axis=1)).sum())
    if lost:
        raise SourceError(
            f"the decisions hold refusals without a customer_id ({lost:,} so far), so nobody knows "
            "whom they concern; give them one, or leave such rows out of the decisions"
        )


def _latest_of(
    decisions: Kept, partition: int, scope: int
) -> tuple[Bytes, NDArray[np.uint8], NDArray[np.int64]] | None:
    customer, word, at, of = (
        decisions.read(partition, name) for name in ("customer", "word", "at", "scope")
    )
    if customer is None or word is None or at is None or of is None:
        return None
    rows = np.flatnonzero(of == scope)
    if not len(rows):
        return None
    customer, word, at = customer[rows], word[rows], at[rows]
    order = sort_order(customer)
    customer, word, at = customer[order], word[order], at[order]
    first = starts(customer)
    owner = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(customer))))
    last = np.lexsort((word, _rank(word, at), owner))
    chosen = last[np.append(first[1:], len(customer)) - 1]
    return customer[first], word[chosen], at[chosen]


def _rank(word: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times that compare as L2 wants it: a denial at an unknown time last, a grant first."""
    unknown = np.where(word >= Word.DENIED, ALWAYS, EARLIEST)
    return np.where(word == Word.NONE, NEVER, np.where(at == NO_TIME, unknown, at))


def _wins(
    word: NDArray[np.uint8],
    at: NDArray[np.int64],
    over: NDArray[np.uint8],
    over_at: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Which words are later than the others; at the same time the stronger refusal wins."""
    mine, theirs = _rank(word, at), _rank(over, over_at)
    return np.asarray((mine > theirs) | ((mine == theirs) & (word > over)), dtype=np.bool_)
