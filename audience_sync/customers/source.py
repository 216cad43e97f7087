"""Reads customers, from files or a database, as canonical columns in bounded frames."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from audience_sync.customers.columns import CUSTOMER_COLUMNS, canonical, find_column
from audience_sync.customers.description import SourceDescription
from audience_sync.customers.table import WHOLE, Place, Split, Table, open_table
from audience_sync.errors import ConfigurationError

ROWS = 50_000  # per frame: large enough to be fast, small enough to fit beside others
_FEW = 1_000  # rows that a check looks at
_LABEL = "source"
_REQUIRED = ("customer_id", "consent")


@dataclass(frozen=True, repr=False)
class Source:
    """The customers of a project. Nothing is opened before it is read; each read is of one moment.

    A database is read in one statement and one read-only transaction, so a read sees one state of
    it; files are read one after the other, as they are found when the read begins.
    """

    table: Table
    mapped: Mapping[str, str]

    def columns(self) -> list[str]:
        """The columns that the source has, under its own names."""
        return self.table.names()

    def count(self) -> int | None:
        """About how many rows there are, for a progress bar; None when nobody can tell cheaply.

        Asked once: a database runs the whole query to tell.
        """
        return self._counted

    @cached_property
    def _counted(self) -> int | None:
        return self.table.count()

    def splits(self, rows: int, predicates: Mapping[str, str]) -> list[Split]:
        """Parts of about so many rows that can be read apart, by different machines at once.

        Together they are every row once, as long as no row changes its key or its place meanwhile.
        """
        return self.table.splits(rows, self.mapped["customer_id"], predicates)

    def check(self, predicates: Mapping[str, str]) -> None:
        """Prove that the mapped columns exist and every audience's condition can be run."""
        with closing(self.batches(predicates, _FEW)) as frames:
            next(frames, None)

    def batches(
        self,
        predicates: Mapping[str, str],
        rows: int = ROWS,
        *,
        without: Collection[str] = (),
        split: Split = WHOLE,
    ) -> Generator[pl.DataFrame, None, None]:
        """Frames of the mapped canonical columns, and `audience:<name>` for each predicate.

        Columns `without` which the caller can do must exist and are not read. A predicate that is
        neither true nor false is false. An empty source may yield no frame. Close the iterator
        when it is left before its end.
        """
        unread = [name for name in without if name in self.mapped]
        there = self.table.names() if unread else []
        for name in unread:
            find_column(_LABEL, name, self.mapped[name], there, self.table.called)
        columns = self._columns(unread)
        with closing(self.table.read(columns, predicates, rows, split)) as frames:
            for frame in frames:
                yield canonical(frame, _LABEL)

    def salvaged(self, *, without: Collection[str] = ()) -> Iterator[pl.DataFrame]:
        """Rows that are true though `batches` ended in a SourceError; others may be missing.

        Enough to find somebody, never to say that somebody is not there.
        """
        for frame in self.table.salvage(self._columns(without)):
            yield canonical(frame, _LABEL)

    def _columns(self, without: Collection[str]) -> dict[str, str]:
        return {ours: name for ours, name in self.mapped.items() if ours not in without}


def open_source(description: SourceDescription) -> Source:
    """The source that the project file describes; refuses one that maps no consent (L1)."""
    mapped = dict(description.columns)
    for name in mapped:
        if name not in CUSTOMER_COLUMNS:
            raise ConfigurationError(
                f"source.columns has no {name}; it may map {', '.join(CUSTOMER_COLUMNS)}"
            )
    for name in _REQUIRED:
        if name not in mapped:
            raise ConfigurationError(
                f"source.columns must map {name}: without it nobody may be sent anywhere"
            )
    place = Place(
        label=_LABEL,
        url=description.url,
        base=description.base,
        query=description.query,
        table=description.table,
    )
    return Source(open_table(place), mapped)
