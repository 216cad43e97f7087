"""One pass over the source: judge every row, write and hash identifiers, keep what may be sent.

After this pass no raw identifier exists anywhere. Rows that may be sent wait by identity; every
refusal waits by each identifier that it concerns (L2).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from audience_sync.customers.policy import (
    NO_REASON,
    NO_TIME,
    Reason,
    Word,
    attribute_reasons,
    believed,
    decision_reasons,
    first_reason,
    words,
)
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.writing import write_forms
from audience_sync.membership.crossing import ALWAYS, NEVER
from audience_sync.membership.digests import Bytes, present, rows_at
from audience_sync.runs.refusals import Refusals, refused_at
from audience_sync.runs.standing import customer_keys
from audience_sync.runs.surveyed import Judged, Surveyed, Tally, column_name, identify
from audience_sync.runs.targets import FormOf, Selection, Target, Workspace

EARLIEST = NEVER + 1  # a grant at an unknown time: any denial outlasts it
_DENIAL_REASON = np.full(len(Word), NO_REASON, dtype=np.int8)
_DENIAL_REASON[Word.DENIED] = Reason.CONSENT_DENIED
_DENIAL_REASON[Word.WITHDRAWN] = Reason.CONSENT_WITHDRAWN
_DENIAL_REASON[Word.OBJECTED] = Reason.OBJECTED


class Survey:
    """Takes batches of customers from any thread; `finish` tells what came out."""

    def __init__(
        self,
        selection: Selection,
        targets: Sequence[Target],
        groups: Mapping[str, int],
        space: Workspace,
        now: datetime,
        refusals: Refusals | None = None,
    ) -> None:
        self.selection = selection
        self._refusals = refusals
        self.audiences = tuple(dict.fromkeys(target.audience for target in targets))
        self._named = {target.audience for target in targets if not target.retired}
        self.identity = {kind: selection.identity_form(kind) for kind in selection.mapped}
        sent = {(kind, form) for target in targets for kind, form in target.forms.items()}
        self.forms: list[FormOf] = sorted(set(self.identity.items()) | sent)
        self._written = [kind.value for kind in self.identity] + ["country"]
        self.group_of = groups
        self.groups = max(groups.values()) + 1
        self.rows = space.spill("rows")
        self.denials = {kind: space.denials(kind) for kind in self.identity}
        self.now = now
        self._lock = threading.Lock()
        self.tally = Tally(
            drops=np.zeros((self.groups, len(Reason)), np.int64),
            blank_selected=np.zeros((self.groups, len(self.audiences)), np.int64),
            blank_left_out=np.zeros((self.groups, len(self.audiences)), np.int64),
        )

    def take(self, frame: pl.DataFrame) -> None:
        """Judge a batch that brings its decision with it, hash what matters, keep it."""
        judged = self.judge(frame)
        reasons = self._reasons(judged)
        self._count(reasons)
        written = frame.select(name for name in self._written if name in frame.columns)
        at = np.flatnonzero(_any_group(reasons == NO_REASON))
        if len(at):
            self._keep(judged.take(at), reasons[at], self.write(written[at], self.forms))
        at = np.flatnonzero(_any_group(_denies(judged.word)))
        if len(at):
            self._deny(judged.take(at), self.write(written[at], list(self.identity.items())))

    def judge(self, frame: pl.DataFrame) -> Judged:
        """The verdict by attributes and by the decision in the row itself."""
        bits = attribute_reasons(frame, self.selection.rules, self.now)
        word, unknown = words(frame["consent"])
        at = np.full(frame.height, NO_TIME, dtype=np.int64)
        if "consent_at" in frame.columns:
            at = frame["consent_at"].fill_null(NO_TIME).to_numpy()
            word = believed(word, at, self.now)
        everyone = np.ones(frame.height, dtype=np.bool_)
        nobody = np.zeros(frame.height, dtype=np.bool_)
        flags = [
            frame[column].to_numpy()
            if (column := f"audience:{name}") in frame.columns
            else (everyone if name in self._named else nobody)
            for name in self.audiences
        ]
        selected = np.packbits(np.stack(flags, axis=1), axis=1)
        with self._lock:
            self.tally.rows += frame.height
            self.tally.unknown_consent_values += unknown
        wide = (1, self.groups)
        judged = Judged(bits, np.tile(word[:, None], wide), np.tile(at[:, None], wide), selected)
        self._withdraw(frame, judged)
        return judged

    def _withdraw(self, frame: pl.DataFrame, judged: Judged) -> None:
        """Let a customer's withdrawal win over what the row itself says, unless that is later."""
        if self._refusals is None or not self._refusals.customers:
            return
        keys = customer_keys(frame["customer_id"])
        for refused in self._refusals.customers:
            rows, refused_then = refused_at(keys, refused)
            for group in self._concerned(refused.partner) if len(rows) else ():
                said, then = judged.word[rows, group], judged.at[rows, group]
                later = (then > refused_then) | ((then == NO_TIME) & (said >= Word.DENIED))
                stronger = (then == refused_then) & (said >= Word.WITHDRAWN)
                won = ~((later & (said != Word.NONE)) | stronger)
                judged.word[rows[won], group] = Word.WITHDRAWN
                judged.at[rows[won], group] = refused_then[won]

    def _concerned(self, partner: str | None) -> Sequence[int]:
        """The groups of a partner, which is perhaps not synced now; all for None."""
        if partner is None:
            return range(self.groups)
        return [self.group_of[partner]] if partner in self.group_of else []

    def refuse(self) -> None:
        """Take the identifiers that were withdrawn in; once, whoever else surveys with this one."""
        if self._refusals is None:
            return
        for kind, refused in self._refusals.of(frozenset(self.identity)):
            groups = list(self._concerned(refused.partner))
            shape = (len(refused.digests), self.groups)
            at, reason = np.full(shape, NEVER), np.full(shape, np.int8(127))
            at[:, groups] = refused.at[:, None]
            reason[:, groups] = Reason.CONSENT_WITHDRAWN
            if groups:
                self.denials[kind].deny(refused.digests, at, reason)

    def write(
        self, frame: pl.DataFrame, forms: Sequence[FormOf]
    ) -> dict[FormOf, NDArray[np.uint8]]:
        """The identifiers of a batch in the forms asked for."""
        country = self.selection.rules.default_country
        return write_forms(frame, forms, default_country=country, hashed=self.selection.hashed)

    def take_judged(self, judged: Judged, written: Mapping[FormOf, Bytes]) -> None:
        """Keep rows whose decisions came from elsewhere and whose identifiers are written."""
        reasons = self._reasons(judged)
        self._count(reasons)
        for at, keep in (
            (np.flatnonzero(_any_group(reasons == NO_REASON)), True),
            (np.flatnonzero(_any_group(_denies(judged.word))), False),
        ):
            part = {form: rows_at(values, at) for form, values in written.items()}
            if keep:
                self._keep(judged.take(at), reasons[at], part)
            else:
                self._deny(judged.take(at), part)

    def finish(self) -> Surveyed:
        """No more customers come; what came out of those that did."""
        self.rows.finish()
        for denials in self.denials.values():
            denials.finish()
        return Surveyed(
            self.identity,
            self.audiences,
            self.group_of,
            self.groups,
            self.rows,
            self.denials,
            self.tally,
            0 if self._refusals is None else self._refusals.through,
        )

    def _reasons(self, judged: Judged) -> NDArray[np.int8]:
        """The first reason of each row by group; NO_REASON where it may be sent so far."""
        rules, now = self.selection.rules, self.now
        columns = [
            first_reason(judged.bits | decision_reasons(word, at, rules, now))
            for word, at in zip(judged.word.T, judged.at.T, strict=True)
        ]
        return np.stack(columns, axis=1)

    def _count(self, reasons: NDArray[np.int8]) -> None:
        counts = [np.bincount(column[column >= 0], minlength=len(Reason)) for column in reasons.T]
        with self._lock:
            self.tally.drops += np.stack(counts)

    def _keep(
        self, judged: Judged, reasons: NDArray[np.int8], written: Mapping[FormOf, Bytes]
    ) -> None:
        """Put rows that may be sent to somebody into the partition of their identity."""
        eligible = reasons == NO_REASON
        granted_at = np.where(eligible, np.maximum(judged.at, EARLIEST), NEVER)
        identity, kind = identify(written, self.identity)
        there = present(identity)
        self._count_blank(judged.selected[~there], eligible[~there])
        columns: dict[str, NDArray[Any]] = {
            "identity": identity,
            "identity_kind": kind,
            "granted_at": granted_at,
            "selected": judged.selected,
        }
        columns |= {
            column_name(form): values
            for form, values in written.items()
            if form != (Kind.EMAIL, self.identity.get(Kind.EMAIL))
        }
        if not there.all():
            at = np.flatnonzero(there)
            columns = {name: rows_at(column, at) for name, column in columns.items()}
        self.rows.put(columns["identity"], columns)

    def _count_blank(self, selected: NDArray[np.uint8], eligible: NDArray[np.bool_]) -> None:
        """Rows without any identifier go nowhere: left out by the audience, or unusable."""
        if len(selected):
            chosen = np.unpackbits(selected, axis=1, count=len(self.audiences)).astype(np.int64)
            with self._lock:
                self.tally.blank_selected += eligible.T.astype(np.int64) @ chosen
                self.tally.blank_left_out += eligible.T.astype(np.int64) @ (1 - chosen)

    def _deny(self, judged: Judged, written: Mapping[FormOf, Bytes]) -> None:
        denies = _denies(judged.word)
        at = np.where(denies, np.where(judged.at == NO_TIME, ALWAYS, judged.at), NEVER)
        reason = np.where(denies, _DENIAL_REASON[judged.word], np.int8(127))
        for kind, denials in self.denials.items():
            denials.deny(written[kind, self.identity[kind]], at, reason)


def _any_group(rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows it holds of for any group; mostly there is only one."""
    return rows[:, 0] if rows.shape[1] == 1 else np.asarray(rows.any(axis=1))


def _denies(word: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return word >= Word.DENIED
