"""Reads Parquet, CSV and NDJSON files, lazily and in bounded memory."""

from __future__ import annotations

import gzip
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from audience_sync.customers.causes import cause_of
from audience_sync.customers.columns import find_column
from audience_sync.customers.conditions import (
    Types,
    check_columns,
    columns_of,
    select,
    settle_types,
    written_types,
)
from audience_sync.customers.rows import (
    Text,
    even_rows,
    find_uneven_row,
    find_wrong_line_ends,
    separator_in,
    without_blank_lines,
)
from audience_sync.customers.table import WHOLE, ChangedError, Place, Split
from audience_sync.errors import ConfigurationError, SourceError

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


class FileTable:
    """One file, or all that a glob finds; they are read one after the other, sorted by name.

    Each file must have the mapped columns and those that conditions name; others may differ. A
    URL of an object store goes to Polars as it is, glob and all.
    """

    def __init__(self, place: Place, *, remote: bool) -> None:
        self._label = place.label
        self._where = place.where
        self._url = place.url
        self._base = place.base
        self._remote = remote
        # Polars sees that a row of a CSV has a field too many, which moves a value into the wrong
        # column, only where it is asked for every column.
        self._format = place.url.lower().removesuffix(".gz").rsplit(".", 1)[1]
        self._optimizations = pl.QueryOptFlags(projection_pushdown=self._format != "csv")

    @property
    def called(self) -> str:
        """The name of the first file."""
        return Path(self._files()[0]).name

    def names(self) -> list[str]:
        """The columns of the first file."""
        return list(self._schema(self._files()[0]))

    def count(self) -> int | None:
        """Rows by Parquet's metadata, or by the length of a CSV's or NDJSON's first lines."""
        files = self._files()
        if self._format == "parquet":
            with self._explained(self._url):
                return sum(
                    int(self._scan(file).select(pl.len()).collect().item()) for file in files
                )
        if self._remote or self._url.lower().endswith(".gz"):
            return None
        with self._explained(self._url):
            headers = len(files) if self._format == "csv" else 0
            return max(0, sum(_estimate(Path(file)) for file in files) - headers)

    def splits(self, rows: int, key: str, conditions: Mapping[str, str]) -> list[Split]:  # noqa: ARG002 - files have no keys
        """One or more for each file: Parquet is cut into rows, other files are read whole.

        A CSV under conditions stays one: what its text may be read as depends on all of it.
        """
        files = [file for file in self._files() if not self._is_empty(file)]
        if self._format == "csv" and any(columns_of(conditions).values()):
            return [WHOLE]
        if self._format != "parquet":
            return [Split(file=self._named(file), size=self._size(file)) for file in files] or [
                WHOLE
            ]
        return [
            Split(file=self._named(file), start=start, stop=min(start + rows, total), size=size)
            for file in files
            for size, total in [(self._size(file), self._rows(file))]
            for start in range(0, total, rows)
        ] or [WHOLE]

    def _size(self, file: str) -> int | None:
        """A file's size in bytes; an object store is not asked."""
        if self._remote:
            return None
        with self._explained(file):
            return Path(file).stat().st_size

    def _named(self, file: str) -> str:
        """A file by its name as seen from the project, whatever machine that is on."""
        path = Path(file)
        inside = not self._remote and path.is_relative_to(self._base)
        return str(path.relative_to(self._base)) if inside else file

    def _rows(self, file: str) -> int:
        with self._explained(file):
            return int(self._scan(file).select(pl.len()).collect().item())

    def read(
        self,
        columns: Mapping[str, str],
        conditions: Mapping[str, str],
        rows: int,
        split: Split = WHOLE,
    ) -> Generator[pl.DataFrame, None, None]:
        """Stream every file, or a split; all are looked at before the first row is given."""
        files = [file for file in self._files() if not self._is_empty(file)]
        used = columns_of(conditions)
        schemas = {file: self._checked(file, columns, used) for file in files}
        types: Types = {}
        named = sorted(set().union(*used.values()))
        if self._format == "csv" and named:
            with self._explained(self._url):
                types = written_types([self._scan(file) for file in files], named)
            types = settle_types(conditions, used, types)
        for file in self._wanted(files, split):
            self._check_rows(file)
            with self._explained(file):
                for part in self._parts(file, schemas[file], rows, split):
                    chosen = select(part, columns, conditions, schemas[file], types)
                    for frame in chosen.collect_batches(
                        chunk_size=rows, engine="streaming", optimizations=self._optimizations
                    ):
                        yield from frame.iter_slices(rows)

    def salvage(self, columns: Mapping[str, str]) -> Iterator[pl.DataFrame]:
        """The whole rows of CSVs in which others are too short or too long."""
        for file in self._files() if self._format == "csv" else ():
            self._checked(file, columns, {})
            wanted = set(columns.values())
            with self._explained(file):
                for frame in even_rows(self._text(file), self._separator(file), wanted):
                    yield frame.select(
                        pl.col(theirs).alias(ours) for ours, theirs in columns.items()
                    )

    def _check_rows(self, file: str) -> None:
        """Refuse a CSV with a row too short; one in an object store is fetched twice for it."""
        if self._format != "csv":
            return
        with self._explained(file):
            wrong = find_uneven_row(self._text(file), self._separator(file))
        if wrong is not None:
            raise self._broken(file, wrong)

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

    def _scan(self, file: str, schema: Types | None = None) -> pl.LazyFrame:
        """The file, lazily; without a `schema` an NDJSON file is read to its end to find one."""
        if self._format == "parquet":
            return pl.scan_parquet(file, glob=self._remote, hive_partitioning=False)
        if self._format == "csv":
            separator = self._separator(file)
            return pl.scan_csv(file, infer_schema=False, separator=separator, glob=self._remote)
        if self._is_empty(file):
            return pl.LazyFrame()
        return pl.scan_ndjson(file, schema=schema, infer_schema_length=None)

    def _text(self, file: str) -> Text:
        return file if self._remote else Path(file)

    def _separator(self, file: str) -> str:
        return separator_in(b"" if self._remote else _beginning(Path(file), _HEADER))

    def _is_empty(self, file: str) -> bool:
        """Whether it is an NDJSON file without a line, which has no columns to look for."""
        if self._remote or self._format != "ndjson":
            return False
        with self._explained(file):
            return not _beginning(Path(file), 1)

    def _parts(
        self, file: str, schema: Types, rows: int, split: Split = WHOLE
    ) -> Iterator[pl.LazyFrame]:
        """The file in parts that are read one by one; Parquet by its row groups, large ones cut.

        Read whole, Parquet is fetched ahead until memory grows with the file.
        """
        scan = self._scan(file, schema)
        if self._format == "csv":
            scan = without_blank_lines(scan)
        first, stop = split.start or 0, split.stop
        if self._format != "parquet" or self._remote:
            yield scan if stop is None else scan.slice(first, stop - first)
            return
        for start, length in _row_groups(file, rows):
            end = start + length if stop is None else min(start + length, stop)
            for at in range(max(start, first), end, _GROUP * rows):
                yield scan.slice(at, min(_GROUP * rows, end - at))

    def _schema(self, file: str) -> Types:
        with self._explained(file):
            schema = self._scan(file).collect_schema()
        wrong = find_wrong_line_ends(schema) if self._format == "csv" else None
        if wrong is not None:
            raise self._broken(file, wrong)
        return schema

    def _checked(
        self, file: str, columns: Mapping[str, str], used: Mapping[str, set[str]]
    ) -> Types:
        schema = self._schema(file)
        names = [_TWIN.sub("", name) for name in schema]
        for ours, theirs in columns.items():
            find_column(self._label, ours, theirs, names, place=Path(file).name)
        check_columns(used, schema, Path(file).name)
        return schema

    @contextmanager
    def _explained(self, file: str) -> Iterator[None]:
        try:
            yield
        except _ERRORS as error:
            cause = cause_of(error, self._text(file) if self._format == "csv" else None)
            raise self._broken(file, cause) from None

    def _broken(self, file: str, cause: str | None) -> SourceError:
        return SourceError(
            f"{Path(file).name} of {self._where} cannot be read as {self._format}"
            + (f": {cause}" if cause else "")
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


def _estimate(path: Path) -> int:
    start = _beginning(path)
    lines = start.count(b"\n")
    if len(start) < _SAMPLE:
        return lines
    return round(path.stat().st_size * lines / len(start))
