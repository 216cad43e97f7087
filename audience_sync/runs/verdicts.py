"""The latest explicit word on each identifier decides for every row that carries it (L2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audience_sync.customers.policy import NO_REASON
from audience_sync.identifiers.kinds import Kind
from audience_sync.membership.crossing import NEVER
from audience_sync.membership.digests import Bytes, Positions, match, starts
from audience_sync.membership.spill import Kept
from audience_sync.runs.surveyed import Surveyed, read_form
from audience_sync.runs.targets import Workspace


class Verdicts:
    """Finds the rows that somebody's refusal reaches through a shared identifier.

    E-mails are settled within the partition, because rows with an e-mail are kept by it; other
    kinds cross partitions first.
    """

    def __init__(self, survey: Surveyed, space: Workspace, reached: Kept | None = None) -> None:
        self._survey = survey
        self._spill = space.spill("reached")
        self._reached: Kept = self._spill if reached is None else reached

    def cross(self) -> None:
        """Settle the kinds that cross partitions; call once, before `of`.

        Not where another did it, and gave what was `reached`.
        """
        for kind, denials in self._survey.denials.items():
            if kind is not Kind.EMAIL and not denials.empty:
                denials.prepare()
                for partition in range(self._survey.rows.partitions):
                    self._carry(kind, partition)
                for home, row, reason in denials.settle():
                    self._spill.put_at(home.astype(np.int64), {"row": row, "reason": reason})
        self._spill.finish()

    @property
    def reached(self) -> int:
        """How many rows somebody's refusal reaches across partitions."""
        return self._reached.rows

    def of(
        self,
        partition: int,
        identity: Bytes,
        granted_at: NDArray[np.int64],
        order: Positions,
    ) -> NDArray[np.int8]:
        """The reason that drops each row of a partition by group; NO_REASON where none does.

        The rows are given in an order of the caller's: `order` says where each of them came from.
        """
        emails = self._survey.denials.get(Kind.EMAIL)
        if emails is None or emails.empty:
            reasons = np.full(granted_at.shape, NO_REASON, dtype=np.int8)
        else:
            # An identity of another kind is never the digest of a denied e-mail.
            reasons = emails.judge(partition, identity, granted_at)
        rows = self._reached.read(partition, "row")
        reached = self._reached.read(partition, "reason")
        if rows is not None and reached is not None:
            place = np.empty(len(order), dtype=np.int64)
            place[order] = np.arange(len(order))
            _earliest(reasons, place[rows], reached)
        return reasons

    def refused(self, partition: int, keys: Bytes, reached: Bytes) -> NDArray[np.bool_]:
        """Which identities somebody refused, whatever was granted since.

        `reached` are the identities, sorted, of rows that a refusal of somebody else reached.
        """
        refused = match(keys, reached[starts(reached)]) >= 0
        never = np.full((len(keys), self._survey.groups), NEVER, dtype=np.int64)
        for denials in self._survey.denials.values():
            if len(keys) and not denials.empty:
                refused |= (denials.judge(partition, keys, never) >= 0).any(axis=1)
        return refused

    def _carry(self, kind: Kind, partition: int) -> None:
        rows, identity = self._survey.rows, self._survey.identity
        digests = read_form(rows, partition, (kind, identity[kind]), identity)
        granted_at = rows.read(partition, "granted_at")
        if digests is not None and granted_at is not None:
            at = np.arange(len(digests), dtype=np.int64)
            self._survey.denials[kind].carry(digests, granted_at, partition, at)


def _earliest(
    reasons: NDArray[np.int8], rows: NDArray[np.int64], reached: NDArray[np.int8]
) -> None:
    """Of several reasons the first in the order of judging is counted."""
    unset = np.int8(127)
    ranked = np.where(reasons == NO_REASON, unset, reasons)
    np.minimum.at(ranked, rows, np.where(reached == NO_REASON, unset, reached))
    reasons[:] = np.where(ranked == unset, NO_REASON, ranked)
