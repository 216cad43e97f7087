"""What a simulated list holds, in memory only.

Two readings. *identifiers* (the default): an identifier is held from the last upload that carried
it until a removal that carried it. *people*: the partner's own view, stricter: a row is one person,
and a removal that carries any identifier of the row takes the whole row away; held is what the
remaining rows carry. An engine that removes an old phone and adds only the new one agrees with the
first reading and has lost the person's e-mail in the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple


class Column(NamedTuple):
    """The identifiers of one kind in a batch; `rows[i]` is the row that `values[i]` stands in."""

    values: Sequence[str]
    rows: Sequence[int]


Columns = dict[str, Column]


@dataclass(frozen=True, slots=True)
class _Batch:
    turn: int
    at: float
    columns: Columns = field(repr=False)


class MemberList:
    """The members of one list; with `keep` off it only counts."""

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._turn = 0
        self._added: dict[str, dict[str, int]] = {}
        self._removed: dict[str, dict[str, int]] = {}
        self._batches: list[_Batch] = []
        self._counted = 0
        self._people_at: tuple[int, int] = (-1, 0)

    def add(self, columns: Columns, rows: int, at: float) -> None:
        """Put a batch on the list."""
        self._turn += 1
        self._counted += rows
        if not self._keep:
            return
        for kind, column in columns.items():
            self._added.setdefault(kind, {}).update(zip(column.values, repeat(self._turn)))
        self._batches.append(_Batch(self._turn, at, columns))

    def remove(self, columns: Columns, rows: int) -> None:
        """Take identifiers off; unknown ones do no harm."""
        self._turn += 1
        self._counted = max(0, self._counted - rows)
        if not self._keep:
            return
        for kind, column in columns.items():
            held = self._added.get(kind, {})
            for value in column.values:
                held.pop(value, None)
            self._removed.setdefault(kind, {}).update(zip(column.values, repeat(self._turn)))

    def remove_added_before(self, at: float) -> None:
        """Take off whatever was last added before a time."""
        self._batches = [batch for batch in self._batches if batch.at >= at]
        self._turn += 1
        first = self._batches[0].turn if self._batches else self._turn
        for kind, held in self._added.items():
            self._added[kind] = {value: turn for value, turn in held.items() if turn >= first}
        self._counted = 0

    def expire(self, before: float) -> None:
        """Forget whoever was last added before a time, where there is anybody."""
        if self._batches and self._batches[0].at < before:
            self.remove_added_before(before)

    def forget(self, kind: str, before: float) -> None:
        """Forget the identifiers of one kind that were last added before a time, but no person."""
        if kind not in self._added or not self._batches or self._batches[0].at >= before:
            return
        self._turn += 1
        first = next((batch.turn for batch in self._batches if batch.at >= before), self._turn)
        held = self._added[kind]
        self._added[kind] = {value: turn for value, turn in held.items() if turn >= first}
        self._batches = [
            batch if batch.turn >= first else _without(batch, kind) for batch in self._batches
        ]

    def counts(self) -> dict[str, int]:
        """How many identifiers of each kind are held."""
        return {kind: len(held) for kind, held in sorted(self._added.items()) if held}

    def identifiers(self, *, people: bool = False) -> dict[str, list[str]]:
        """The identifiers held, by kind, sorted; `people` chooses the stricter reading."""
        if not people:
            return {kind: sorted(held) for kind, held in sorted(self._added.items()) if held}
        found: dict[str, set[str]] = {}
        for batch, dead in self._alive():
            for kind, column in batch.columns.items():
                found.setdefault(kind, set()).update(
                    value for value, row in zip(*column, strict=True) if row not in dead
                )
        return {kind: sorted(values) for kind, values in sorted(found.items()) if values}

    def people(self) -> int:
        """How many different people are held, told apart by the first identifier of their row."""
        if not self._keep:
            return self._counted
        if self._people_at[0] != self._turn:
            self._people_at = (self._turn, self._count_people())
        return self._people_at[1]

    def _count_people(self) -> int:
        names: set[str] = set()
        for batch, dead in self._alive():
            first: dict[int, str] = {}
            for column in reversed(batch.columns.values()):
                first.update(zip(column.rows, column.values, strict=True))
            names.update(value for row, value in first.items() if row not in dead)
        return len(names)

    def _alive(self) -> Iterator[tuple[_Batch, set[int]]]:
        for batch in self._batches:
            dead: set[int] = set()
            for kind, column in batch.columns.items():
                removed = self._removed.get(kind)
                if removed:
                    dead.update(
                        row
                        for value, row in zip(*column, strict=True)
                        if removed.get(value, 0) > batch.turn
                    )
            yield batch, dead


def _without(batch: _Batch, kind: str) -> _Batch:
    kept = {name: column for name, column in batch.columns.items() if name != kind}
    return _Batch(batch.turn, batch.at, kept)
