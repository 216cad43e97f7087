"""Canaries as lines: what each list is to hold of them, beside its customers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.writing import write_forms
from audience_sync.membership.crossing import NEVER
from audience_sync.membership.digests import (
    Bytes,
    Mask,
    match,
    partition_of,
    present,
    rows_at,
    sort_order,
    starts,
)
from audience_sync.membership.lines import Lines, merge
from audience_sync.runs.canaries import Canary
from audience_sync.runs.surveyed import Surveyed, identify
from audience_sync.runs.targets import FormOf, Target


@dataclass(frozen=True)
class Seeds:
    """Canaries of one list: the identities of all, and the lines of those whose turn it is."""

    keys: Bytes  # sorted, each once
    lines: Lines

    def within(self, partition: int, partitions: int) -> Seeds:
        """Those that fall into a partition."""
        keys = self.keys[partition_of(self.keys, partitions) == partition]
        return Seeds(keys, self.lines.take(match(self.lines.keys, keys) >= 0))

    def without(self, keys: Bytes) -> Seeds:
        """Without some identities, sorted: customers who have them are customers."""
        left = self.keys[match(self.keys, keys[starts(keys)]) < 0]
        return Seeds(left, self.lines.take(match(self.lines.keys, left) >= 0))


@dataclass(frozen=True)
class Seeding:
    """Writes canaries in the forms of each list, once for all partitions."""

    survey: Surveyed
    now: int  # seconds since 1970
    _seeds: dict[str, Seeds | None] = field(default_factory=dict)

    def of(self, target: Target, partition: int) -> Seeds | None:
        """The canaries of a list in a partition; None where there are none."""
        if not target.canaries:
            return None
        if target.name not in self._seeds:
            self._seeds[target.name] = self._all(target)
        seeds = self._seeds[target.name]
        found = None if seeds is None else seeds.within(partition, self.survey.rows.partitions)
        return found if found is not None and len(found.keys) else None

    def _all(self, target: Target) -> Seeds | None:
        identity = self.survey.identity
        written = written_canaries(target.canaries, {*identity.items(), *target.forms.items()})
        keys = identities(written, dict(identity))
        values = {kind: written[kind, form] for kind, form in target.forms.items()}
        usable = np.any([present(column) for column in values.values()], axis=0) & present(keys)
        at = target.canaries_at
        turn = [at is not None and c.turn(target.audience, at).here for c in target.canaries]
        wanted = np.array(turn, dtype=np.bool_) & usable & ~self._refused(written)
        since = np.full(int(wanted.sum()), self.now, dtype=np.uint32)
        columns = {kind: column[wanted] for kind, column in values.items()}
        lines = merge(keys[wanted], columns, since, target.most_identifiers)
        known = keys[present(keys)]
        known = rows_at(known, sort_order(known))
        return Seeds(known[starts(known)], lines) if len(known) else None

    def _refused(self, written: dict[FormOf, Bytes]) -> Mask:
        """Whoever somebody refused by any identifier is not sent, canary or not (L2)."""
        refused = np.zeros(len(next(iter(written.values()))), dtype=np.bool_)
        for kind, denials in self.survey.denials.items():
            digests = written[kind, self.survey.identity[kind]]
            never = np.full((1, self.survey.groups), NEVER, dtype=np.int64)
            partitions = partition_of(digests, self.survey.rows.partitions)
            for row in np.flatnonzero(present(digests)).tolist():
                found = denials.judge(int(partitions[row]), digests[row : row + 1], never)
                refused[row] |= bool((found >= 0).any())
        return refused


def written_canaries(canaries: tuple[Canary, ...], forms: set[FormOf]) -> dict[FormOf, Bytes]:
    """The identifiers of canaries in every form asked for, one row each."""
    columns = {kind.value: [c.values.get(kind) for c in canaries] for kind in Kind}
    columns["country"] = [c.country for c in canaries]
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return write_forms(frame, sorted(forms), default_country=None)


def identities(written: dict[FormOf, Bytes], identity: dict[Kind, str]) -> Bytes:
    """By what each canary is known, as a customer of the same identifiers would be."""
    return identify({form: written[form] for form in identity.items()}, identity)[0]
