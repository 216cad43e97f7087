"""Read the customers, and their decisions, into a survey."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from datetime import datetime

import polars as pl

from audience_sync.customers.decisions import read_decisions
from audience_sync.customers.ids import FEW, doubt_of_ids
from audience_sync.customers.source import Source
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.profile import ColumnProfile, profile, refuse_mismatch
from audience_sync.runs.decided import DecisionJoin
from audience_sync.runs.leases import Held
from audience_sync.runs.progress import Progress
from audience_sync.runs.refusals import Refusals
from audience_sync.runs.survey import Survey
from audience_sync.runs.surveyed import Surveyed
from audience_sync.runs.targets import Selection, Target, Workspace, partner_groups
from audience_sync.runs.threads import in_order

_log = logging.getLogger(__name__)
_PROFILED_EVERY = 16  # batches; the first two are always looked at
_PROFILED_FIRST = 2


def survey_customers(
    source: Source,
    selection: Selection,
    targets: list[Target],
    space: Workspace,
    held: Held,
    now: datetime,
    progress: Progress,
    refusals: Refusals,
) -> Surveyed:
    """One pass over the source, in threads; what may be sent."""
    limited = selection.decisions is not None or refusals.limited
    groups = partner_groups(targets, by_partner=limited)
    survey = Survey(selection, targets, groups, space, now, refusals)
    survey.refuse()
    wheres = {target.audience: target.where for target in targets if target.where is not None}
    join = None if selection.decisions is None else DecisionJoin(survey, groups, space)
    advance = progress.stage("Reading and hashing customers", source.count())

    def take(frame: pl.DataFrame) -> int:
        (survey if join is None else join).take(frame)
        return frame.height

    def done(rows: int) -> None:
        advance(rows)
        held.proceed()

    if join is not None and selection.decisions is not None:
        for frame in read_decisions(selection.decisions):
            join.take_decisions(frame)
            held.proceed()
    # Only what was said elsewhere asks whose row it is; reading a key of each costs a tenth.
    without = ("customer_id",) if join is None and not refusals.customers else ()
    frames = source.batches(wheres, without=without)
    in_order(take, profiled(frames, selection.hashed), done)
    if join is not None:
        join.finish()
        survey.tally.unknown_consent_values += join.unknown_words
        in_order(join.settle, range(space.partitions), lambda _: held.proceed())
        join.discard()
    return survey.finish()


def profiled(
    frames: Generator[pl.DataFrame, None, None], hashed: Mapping[Kind, str]
) -> Iterator[pl.DataFrame]:
    """The same batches; stops at a column that is hashed and should not be, or the reverse."""
    found: dict[Kind, ColumnProfile] = {}
    with closing(frames):
        for number, frame in enumerate(frames):
            if number == 0 and "customer_id" in frame.columns:
                doubt = doubt_of_ids(frame["customer_id"].head(FEW))
                if doubt is not None:
                    _log.warning("%s", doubt)
            if number < _PROFILED_FIRST or number % _PROFILED_EVERY == 0:
                _profile(frame, found, hashed)
            yield frame


def _profile(
    frame: pl.DataFrame, found: dict[Kind, ColumnProfile], hashed: Mapping[Kind, str]
) -> None:
    for kind in Kind:
        if kind.value in frame.columns:
            seen = profile(frame[kind.value])
            found[kind] = found[kind] + seen if kind in found else seen
            refuse_mismatch(kind, found[kind], hashed.get(kind))
