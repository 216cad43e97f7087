"""One file of customers, read lazily and in bounded memory, whatever its format."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from audience_sync.customers.causes import cause_of
from audience_sync.customers.columns import find_column
from audience_sync.customers.conditions import Types, check_columns
from audience_sync.customers.rows import (
    Text,
    find_uneven_row,
    find_wrong_header,
    separator_in,
    without_blank_lines,
)
from audience_sync.customers.salvage import even_rows, uneven_rows
from audience_sync.customers.table import WHOLE, Place, Split
from audience_sync.errors import SourceError

_ERRORS = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    pa.ArrowException,
    OSError,
    EOFError,
)
_SAMPLE = 1 << 20  # bytes
_HEADER = 1 << 16  # bytes
_GROUP = 3  # frames in a part of a Parquet file, so that a common row group is read at once
_TWIN = re.compile(r"_duplicated_\d+$")  # how Polars tells equal names of a CSV apart


class Reading:
    """How the files of a table are read, each by its name; what goes wrong is told in words."""

    def __init__(self, place: Place, *, remote: bool) -> None:
        self._label = place.label
        self._where = place.where
        self._remote = remote
        self.format = place.url.lower().removesuffix(".gz").rsplit(".", 1)[1]

    def rows(self, file: str) -> int:
        """How many rows it has: by its metadata, where it is Parquet."""
        with self.explained(file):
            return int(self.scan(file).select(pl.len()).collect().item())

    def estimate(self, file: str) -> int:
        """About how many lines a text file has, by the length of its first ones."""
        path = Path(file)
        start = _beginning(path)
        lines = start.count(b"\n")
        if len(start) < _SAMPLE:
            return lines
        return round(path.stat().st_size * lines / len(start))

    def schema(self, file: str) -> Types:
        """Its columns and what they hold."""
        with self.explained(file):
            schema = self.scan(file).collect_schema()
            wrong = find_wrong_header(schema, self._text(file)) if self.format == "csv" else None
        if wrong is not None:
            raise self._broken(file, wrong)
        return schema

    def checked(self, file: str, columns: Mapping[str, str], used: Mapping[str, set[str]]) -> Types:
        """Its columns, once those that are asked for were found among them."""
        schema = self.schema(file)
        names = [_TWIN.sub("", name) for name in schema]
        for ours, theirs in columns.items():
            find_column(self._label, ours, theirs, names, place=Path(file).name)
        check_columns(used, schema, Path(file).name)
        return schema

    def scan(self, file: str, schema: Types | None = None) -> pl.LazyFrame:
        """The file, lazily; without a `schema` an NDJSON file is read to its end to find one."""
        if self.format == "parquet":
            return pl.scan_parquet(file, glob=self._remote, hive_partitioning=False)
        if self.format == "csv":
            separator = self._separator(file)
            return pl.scan_csv(file, infer_schema=False, separator=separator, glob=self._remote)
        if self.is_empty(file):
            return pl.LazyFrame()
        return pl.scan_ndjson(file, schema=schema, infer_schema_length=None)

    def parts(
        self, file: str, schema: Types, rows: int, split: Split = WHOLE
    ) -> Iterator[pl.LazyFrame]:
        """The file in parts that are read one by one; Parquet by its row groups, large ones cut.

        Read whole, Parquet is fetched ahead until memory grows with the file.
        """
        scan = self.scan(file, schema)
        if self.format == "csv":
            scan = without_blank_lines(scan)
        first, stop = split.start or 0, split.stop
        if self.format != "parquet" or self._remote:
            yield scan if stop is None else scan.slice(first, stop - first)
            return
        for start, length in _row_groups(file, rows):
            end = start + length if stop is None else min(start + length, stop)
            for at in range(max(start, first), end, _GROUP * rows):
                yield scan.slice(at, min(_GROUP * rows, end - at))

    def check_rows(self, file: str) -> None:
        """Refuse a CSV with a row too short; one in an object store is fetched twice for it."""
        if self.format != "csv":
            return
        with self.explained(file):
            wrong = find_uneven_row(self._text(file), self._separator(file))
        if wrong is not None:
            raise self._broken(file, wrong)

    def even_rows(self, file: str, wanted: set[str]) -> Iterator[pl.DataFrame]:
        """The whole rows of a CSV in which others are too short or too long; some, at least."""
        text, separator = self._text(file), self._separator(file)
        if uneven_rows(text, separator) is not None:
            with suppress(pa.ArrowException):
                yield from even_rows(text, separator, wanted)

    def is_empty(self, file: str) -> bool:
        """Whether it is an NDJSON file without a line, which has no columns to look for."""
        if self._remote or self.format != "ndjson":
            return False
        with self.explained(file):
            return not _beginning(Path(file), 1)

    def _text(self, file: str) -> Text:
        return file if self._remote else Path(file)

    def _separator(self, file: str) -> str:
        return separator_in(b"" if self._remote else _beginning(Path(file), _HEADER))

    @contextmanager
    def explained(self, file: str) -> Iterator[None]:
        """Errors of libraries come out of the block as one of ours, which names the file."""
        try:
            yield
        except _ERRORS as error:
            there = self.format == "csv" and (self._remote or Path(file).is_file())
            cause = cause_of(error, self._text(file) if there else None)
            raise self._broken(file, cause) from None

    def _broken(self, file: str, cause: str | None) -> SourceError:
        return SourceError(
            f"{Path(file).name} of {self._where} cannot be read as {self.format}"
            + (f": {cause}" if cause else f"; see whether it is whole, and really {self.format}")
        )


def _row_groups(file: str, rows: int) -> Iterator[tuple[int, int]]:
    """Where neighbouring row groups of about `rows` rows begin, and how long they are."""
    with pq.ParquetFile(file) as opened:
        lengths = [
            opened.metadata.row_group(at).num_rows for at in range(opened.metadata.num_row_groups)
        ]
    start = length = 0
    for more in lengths:
        if length and length + more > rows:
            yield start, length
            start, length = start + length, 0
        length += more
    yield start, length


def _beginning(path: Path, size: int = _SAMPLE) -> bytes:
    """The beginning of a text file, unpacked."""
    if path.suffix.lower() == ".gz":
        with gzip.open(path) as packed:
            return packed.read(size)
    with path.open("rb") as file:
        return file.read(size)
