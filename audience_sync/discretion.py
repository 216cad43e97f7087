"""Counts of few people are not shown in reports, nor what would give them away by subtraction."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from audience_sync.ledger.records.runs import Batch, Run

HIDDEN = "hidden"
_BESIDE = "unknown_consent_values"  # part of a drop, not of the sum
_NO_PEOPLE = frozenset({"batches"})
_COUNTS = ("members", "accepted", "rejected", "unattributed", "withheld")
_NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?![\w.%]|,\d)")
_PERCENT = re.compile(r" \(\d+(?:\.\d+)?%\)")
_ROWS = "rows_read"
_FIRST_HIDDEN, _LAST_HIDDEN = "not_in_audience", "members"

T = TypeVar("T")


class _Sum(NamedTuple):
    """Counts that add up to another one."""

    parts: tuple[str, ...]
    total: str


class _Told(NamedTuple):
    """A count of a funnel, beside how many rows were read for it."""

    rows: int
    name: str
    people: int


@dataclass(frozen=True)
class Discretion:
    """Shows counts of fewer than `threshold` people only as that; None shows every count."""

    threshold: int | None

    def count(self, count: int) -> int | str:
        """A count by itself."""
        return self._small if self._is_small(count) else count

    def counts(self, counts: Mapping[str, Any], *names: str) -> dict[str, Any]:
        """A document in which the counts of these names can be shown; the others stay."""
        told = {name: self.count(counts[name]) for name in names if name in counts}
        return {**counts, **told}

    def beside(self, members: int, run: Run | None, shown: Run | None) -> int | str:
        """The members of a list, told beside a run of it as `runs` shows it: no more than that."""
        names = ("held", "wanted")
        told: dict[Any, Any] = {}
        if run is not None and shown is not None:
            told = {run.delta.get(name): shown.delta.get(name) for name in names}
        return HIDDEN if told.get(members) == HIDDEN else self.count(members)

    def runs(self, runs: Sequence[Run]) -> list[Run]:
        """Runs that are shown together: of one source, none tells what another one hides.

        A drop that all audiences share is the same count in each of their runs.
        """
        shown = [self.run(run) for run in runs]
        hidden: set[_Told] = set()
        while True:
            found = {told for pair in zip(runs, shown, strict=True) for told in _hides(*pair)}
            if found <= hidden:
                return shown
            hidden |= found
            shown = [
                self.run(run, {one.name for one in _tells(run) & hidden} | _hidden(before))
                for run, before in zip(runs, shown, strict=True)
            ]

    def run(self, run: Run, hidden: Collection[str] = ()) -> Run:
        """A run whose funnel, delta and reason can be shown: some of its counts are words.

        Where a count is small, others are hidden so that it cannot be computed from the sums; what
        is hidden leaves every small number possible. `hidden` names counts to hide anyway.
        """
        if not self.threshold:
            return run
        counts = {**run.delta, **run.funnel}
        flags = self._flags(counts)
        for name in (alike for one in hidden for alike in _alike(one, counts)):
            flags.setdefault(name, HIDDEN)
        if "held" in counts and not flags.keys().isdisjoint(("additions", "removals")):
            flags.setdefault("held", HIDDEN)  # held - wanted is removals - additions
        flags = self._closed(counts, flags, list(_sums(run.funnel, run.delta)))
        shown: dict[str, Any] = {name: flags.get(name, count) for name, count in counts.items()}
        return replace(
            run,
            funnel={name: shown[name] for name in run.funnel},
            delta={name: shown[name] for name in run.delta},
            reason=self.text(run.reason),
        )

    def batches(self, batches: Sequence[Batch]) -> list[Batch]:
        """The batches; none tells a count where one of them would tell a small one."""
        small = any(self._is_small(getattr(batch, name)) for batch in batches for name in _COUNTS)
        if not small:
            return list(batches)
        hidden: dict[str, Any] = dict.fromkeys(_COUNTS, HIDDEN)
        return [
            replace(batch, **hidden, rejected_positions=(), withheld_positions=())
            for batch in batches
        ]

    def text(self, sentence: str | None) -> str | None:
        """A sentence of ours in which small numbers, and shares beside them, are not told."""
        if sentence is None or not self.threshold:
            return sentence
        found = (int(number.replace(",", "")) for number in _NUMBER.findall(sentence))
        if not any(self._is_small(number) for number in found):
            return sentence
        without = _PERCENT.sub("", sentence)
        return _NUMBER.sub(lambda match: self._word(match.group()), without)

    def _word(self, number: str) -> str:
        return self._small if self._is_small(int(number.replace(",", ""))) else number

    @property
    def _small(self) -> str:
        return f"fewer than {self.threshold}"

    def _is_small(self, count: int) -> bool:
        return 0 < count < (self.threshold or 0)

    def _flags(self, counts: Mapping[str, int]) -> dict[str, str]:
        return {
            name: self._small
            for name, count in counts.items()
            if name not in _NO_PEOPLE and self._is_small(count)
        }

    def _closed(
        self, counts: Mapping[str, int], flags: dict[str, str], sums: Sequence[_Sum]
    ) -> dict[str, str]:
        """Hide more until no sum gives a small count away."""
        while True:
            further = next((name for s in sums if (name := self._needed(counts, flags, s))), None)
            if further is None:
                return flags
            for name in _alike(further, counts):
                flags.setdefault(name, HIDDEN)

    def _needed(self, counts: Mapping[str, int], flags: dict[str, str], one: _Sum) -> str | None:
        """What this sum asks to hide next; None where it gives nothing away.

        A hidden count is known to reach the threshold, so only what it has beyond that leaves room
        for a small one to be any of the small numbers.
        """
        least = self.threshold or 0
        if one.total in flags or not any(flags.get(part) == self._small for part in one.parts):
            return self._beside(counts, flags, one)
        beyond = sum(counts[part] - least for part in one.parts if flags.get(part) == HIDDEN)
        if beyond >= least - 1:
            return None
        left = [part for part in one.parts if part not in flags and counts[part] >= least]
        return max(left, key=lambda part: _order(part, counts), default=one.total)

    def _beside(self, counts: Mapping[str, int], flags: dict[str, str], one: _Sum) -> str | None:
        """A total that is not told is told by its parts, unless one of them is not, either."""
        if one.total not in flags or any(part in flags for part in one.parts):
            return None
        left = [part for part in one.parts if counts[part]]
        return max(left, key=lambda part: _order(part, counts), default=None)


def _sums(funnel: Mapping[str, int], delta: Mapping[str, int]) -> Iterable[_Sum]:
    """The sums that really hold in this run; orders count otherwise than members."""
    whole = {**delta, **funnel}
    parts = tuple(name for name in funnel if name not in ("rows_read", _BESIDE))
    for one in (
        _Sum(parts, "rows_read"),
        _Sum(("unchanged", "additions"), "wanted"),
        _Sum(("unchanged", "removals"), "held"),
    ):
        known = all(name in whole for name in (*one.parts, one.total))
        if known and sum(whole[part] for part in one.parts) == whole[one.total]:
            yield one


def _tells(run: Run) -> set[_Told]:
    """The counts of a funnel, as any run of the same rows would tell them."""
    rows = run.funnel.get(_ROWS, 0)
    return {_Told(rows, name, count) for name, count in run.funnel.items()}


def _hidden(shown: Run) -> set[str]:
    counts: dict[str, Any] = {**shown.delta, **shown.funnel}
    return {name for name, count in counts.items() if count == HIDDEN}


def _hides(run: Run, shown: Run) -> set[_Told]:
    return {one for one in _tells(run) if isinstance(shown.funnel[one.name], str)}


def _order(part: str, counts: Mapping[str, int]) -> tuple[bool, bool, int]:
    return part == _FIRST_HIDDEN, part != _LAST_HIDDEN, counts[part]


def _alike(name: str, counts: Mapping[str, int]) -> list[str]:
    """The same count under both of its names."""
    same = {"members", "wanted"}
    return [other for other in same if other in counts] if name in same else [name]
