"""Which customers may be shared: the same judgement that audiences pass, by customer id.

Whoever is not found to have granted it may not, so that an order of an unknown customer, of a
guest or of one whose account is closed stays where it is.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from audience_sync.customers.policy import NO_REASON, check_rules
from audience_sync.customers.source import ROWS, Source, open_source
from audience_sync.identifiers.kinds import Kind
from audience_sync.membership.crossing import NEVER
from audience_sync.membership.digests import Bytes, match, present, rows_at, sort_order, starts
from audience_sync.membership.spill import Spill
from audience_sync.runs.leases import Held
from audience_sync.runs.progress import Progress
from audience_sync.runs.reading import survey_customers
from audience_sync.runs.refusals import Refusals
from audience_sync.runs.standing import customer_keys
from audience_sync.runs.surveyed import read_form
from audience_sync.runs.targets import Selection, Target, Workspace
from audience_sync.runs.threads import in_order
from audience_sync.runs.verdicts import Verdicts

# The survey carries identifiers alone, so the customer's own key travels as one.
_CARRIER = Kind.EXTERNAL_ID
_FORM = "external-id/plain"


class Shareable:
    """Tells of customers, partition by partition of their keys, to which partners they may go."""

    def __init__(self, customers: Spill, groups: Mapping[str, int], rows: int) -> None:
        self._customers = customers
        self.group_of = groups
        self.rows = rows  # customers read

    @property
    def granted(self) -> int:
        """Customers who may be shared with some partner."""
        return self._customers.rows

    def may(self, partition: int, customers: Bytes) -> NDArray[np.bool_]:
        """Who of these may be shared; shape (n, groups)."""
        groups = max(self.group_of.values()) + 1
        found = np.zeros((len(customers), groups), dtype=np.bool_)
        keys, may = (self._customers.read(partition, name) for name in ("customer", "may"))
        if keys is None or may is None:
            return found
        order = sort_order(keys)
        keys, may = rows_at(keys, order), may[order]
        first = starts(keys)
        place = match(customers, keys[first])
        known = place >= 0
        found[known] = np.bitwise_and.reduceat(may, first)[place[known]]
        return found


def judge_customers(
    selection: Selection,
    targets: list[Target],
    space: Workspace,
    held: Held,
    now: datetime,
    progress: Progress,
    refusals: Refusals,
) -> Shareable:
    """One pass over the customers; refusals count for every account that carries an identifier."""
    mapped = selection.source.columns
    check_rules(selection.rules, mapped, decisions=selection.decisions is not None)
    opened = open_source(selection.source)
    plain = {name: column for name, column in opened.mapped.items() if name != _CARRIER.value}
    carrying = replace(
        selection,
        source=replace(selection.source, columns={**plain, _CARRIER.value: mapped["customer_id"]}),
        hashed={**selection.hashed, _CARRIER: _FORM},
    )
    source = _Carrying(opened.table, plain)
    survey = survey_customers(source, carrying, targets, space, held, now, progress, refusals)
    verdicts = Verdicts(survey, space)
    verdicts.cross()
    customers = space.spill("shareable")

    def keep(partition: int) -> None:
        identity, granted_at = (
            survey.rows.read(partition, name) for name in ("identity", "granted_at")
        )
        keys = read_form(survey.rows, partition, (_CARRIER, _FORM), survey.identity)
        if identity is None or granted_at is None or keys is None:
            return
        order = sort_order(identity)
        identity, granted_at, keys = (rows_at(one, order) for one in (identity, granted_at, keys))
        reasons = verdicts.of(partition, identity, granted_at, order)
        may = (granted_at != NEVER) & (reasons == NO_REASON)
        named = np.flatnonzero(present(keys))
        customers.put(keys[named], {"customer": keys[named], "may": may[named]})

    in_order(keep, range(survey.rows.partitions), lambda _: held.proceed())
    customers.finish()
    return Shareable(customers, survey.group_of, survey.tally.rows)


class _Carrying(Source):
    """The same customers, each with its own key in place of an identifier."""

    def batches(
        self, predicates: Mapping[str, str], rows: int = ROWS, **options: Any
    ) -> Generator[pl.DataFrame, None, None]:
        """Frames as `Source.batches` gives them; nobody's id is left out."""
        for frame in super().batches(predicates, rows, **(options | {"without": ()})):
            yield frame.with_columns(pl.Series(_CARRIER.value, key_texts(frame["customer_id"])))


def key_texts(customers: pl.Series) -> pl.Series:
    """Customer ids as the digests that they are matched by, in hex; none where there is no id."""
    keys = customer_keys(customers)
    width = 2 * keys.shape[1]
    written = pl.Series([keys.tobytes().hex()]).str.extract_all(f".{{{width}}}").explode()
    written = written if len(keys) else pl.Series(dtype=pl.String)
    return written.zip_with(pl.Series(present(keys)), pl.Series([None], dtype=pl.String))
