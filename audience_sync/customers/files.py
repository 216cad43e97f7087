"""Parquet, CSV and NDJSON files as a table: one file, or all that a glob finds."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import polars as pl

from audience_sync.customers.conditions import (
    Types,
    columns_of,
    select,
    settle_types,
    written_types,
)
from audience_sync.customers.reading import Reading
from audience_sync.customers.table import WHOLE, ChangedError, Place, Split
from audience_sync.errors import ConfigurationError


class FileTable:
    """One file, or all that a glob finds; they are read one after the other, sorted by name.

    Each file must have the mapped columns and those that conditions name; others may differ. A
    URL of an object store goes to Polars as it is, glob and all.
    """

    def __init__(self, place: Place, *, remote: bool) -> None:
        self._where = place.where
        self._url = place.url
        self._base = place.base
        self._remote = remote
        self._reading = Reading(place, remote=remote)
        self._format = self._reading.format
        # Polars sees that a row of a CSV has a field too many, which moves a value into the wrong
        # column, only where it is asked for every column.
        self._optimizations = pl.QueryOptFlags(projection_pushdown=self._format != "csv")

    @property
    def called(self) -> str:
        """The name of the first file."""
        return Path(self._files()[0]).name

    def names(self) -> list[str]:
        """The columns of the first file."""
        return list(self._reading.schema(self._files()[0]))

    def count(self) -> int | None:
        """Rows by Parquet's metadata, or by the length of a CSV's or NDJSON's first lines."""
        files = self._files()
        if self._format == "parquet":
            with self._reading.explained(self._url):
                return sum(
                    int(self._reading.scan(file).select(pl.len()).collect().item())
                    for file in files
                )
        if self._remote or self._url.lower().endswith(".gz"):
            return None
        with self._reading.explained(self._url):
            headers = len(files) if self._format == "csv" else 0
            return max(0, sum(self._reading.estimate(file) for file in files) - headers)

    def splits(self, rows: int, key: str, conditions: Mapping[str, str]) -> list[Split]:  # noqa: ARG002 - files have no keys
        """One or more for each file: Parquet is cut into rows, other files are read whole.

        A CSV under conditions stays one: what its text may be read as depends on all of it.
        """
        files = [file for file in self._files() if not self._reading.is_empty(file)]
        if self._format == "csv" and any(columns_of(conditions).values()):
            return [WHOLE]
        if self._format != "parquet":
            return [Split(file=self._named(file), size=self._size(file)) for file in files] or [
                WHOLE
            ]
        return [
            Split(file=self._named(file), start=start, stop=min(start + rows, total), size=size)
            for file in files
            for size, total in [(self._size(file), self._reading.rows(file))]
            for start in range(0, total, rows)
        ] or [WHOLE]

    def _size(self, file: str) -> int | None:
        """A file's size in bytes; an object store is not asked."""
        if self._remote:
            return None
        with self._reading.explained(file):
            return Path(file).stat().st_size

    def _named(self, file: str) -> str:
        """A file by its name as seen from the project, whatever machine that is on."""
        path = Path(file)
        inside = not self._remote and path.is_relative_to(self._base)
        return str(path.relative_to(self._base)) if inside else file

    def read(
        self,
        columns: Mapping[str, str],
        conditions: Mapping[str, str],
        rows: int,
        split: Split = WHOLE,
    ) -> Generator[pl.DataFrame, None, None]:
        """Stream every file, or a split; all are looked at before the first row is given."""
        files = [file for file in self._files() if not self._reading.is_empty(file)]
        used = columns_of(conditions)
        schemas = {file: self._reading.checked(file, columns, used) for file in files}
        types: Types = {}
        named = sorted(set().union(*used.values()))
        typed = self._format == "csv" and bool(named)
        if typed:
            for file in files:  # else a quote that stays open is told as nothing but damage
                self._reading.check_rows(file)
            with self._reading.explained(self._url):
                types = written_types([self._reading.scan(file) for file in files], named)
            types = settle_types(conditions, used, types)
        for file in self._wanted(files, split):
            if not typed:
                self._reading.check_rows(file)
            with self._reading.explained(file):
                for part in self._reading.parts(file, schemas[file], rows, split):
                    chosen = select(part, columns, conditions, schemas[file], types)
                    for frame in chosen.collect_batches(
                        chunk_size=rows, engine="streaming", optimizations=self._optimizations
                    ):
                        yield from frame.iter_slices(rows)

    def salvage(self, columns: Mapping[str, str]) -> Iterator[pl.DataFrame]:
        """The whole rows of CSVs in which others are too short or too long."""
        for file in self._files() if self._format == "csv" else ():
            self._reading.checked(file, columns, {})
            wanted = set(columns.values())
            with self._reading.explained(file):
                for frame in self._reading.even_rows(file, wanted):
                    yield frame.select(
                        pl.col(theirs).alias(ours) for ours, theirs in columns.items()
                    )

    def _wanted(self, files: list[str], split: Split) -> list[str]:
        if split.file is None:
            return files
        named = [file for file in files if self._named(file) == split.file]
        if not named:
            raise ChangedError(f"{self._where}: a file was taken away while it was read; run again")
        if split.size not in (None, self._size(named[0])):
            raise ChangedError(
                f"{self._where}: a file was changed while it was read; run again, and write "
                "new files under another name before they take the place of the old"
            )
        return named

    def _files(self) -> list[str]:
        if self._remote:
            return [self._url]
        named = self._base / self._url
        if named.is_file():
            return [str(named)]
        files = sorted(str(found) for found in self._matches() if found.is_file())
        if not files:
            raise ConfigurationError(
                f"{self._where}: no file matches {self._url}; correct the path"
            )
        return files

    def _matches(self) -> Iterator[Path]:
        pattern = Path(self._url)
        if pattern.is_absolute():
            return Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
        return self._base.glob(self._url)
