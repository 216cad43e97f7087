"""A table of rows to read, whatever it lies in; `open_table` finds the right kind."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl

from audience_sync.errors import ConfigurationError, SourceError

FILE_NAMES = re.compile(r"\.(parquet|csv|csv\.gz|ndjson|ndjson\.gz)$", re.IGNORECASE)
_OBJECT_STORES = ("s3://", "gs://", "az://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a table lies; `label` is its key in the project file, for what errors say.

    A file that is not of the project file is `shown` by its own name instead.
    """

    label: str
    url: str = field(repr=False)
    base: Path
    query: str | None = None
    table: str | None = None
    shown: str | None = None

    @property
    def where(self) -> str:
        """What errors call the URL."""
        return self.shown or f"{self.label}.url"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A part of a table that can be read on its own: rows of a file, or a range of a key column.

    `start` is the first row or key, `stop` the one after the last; None is open. The bounds of
    keys are round numbers, nobody's own. `size` is a file's when it was cut, in bytes: rows of
    another file would be missed without a word.
    """

    file: str | None = None
    key: str | None = None
    start: int | None = None
    stop: int | None = None
    size: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For the ledger."""
        return asdict(self)


WHOLE: Final = Split()


class ChangedError(SourceError):
    """What is read in parts is another by now; only beginning anew helps."""


class Table(Protocol):
    """Rows that can be read again and again."""

    @property
    def called(self) -> str:
        """What errors call it, such as "the query"."""
        ...

    def names(self) -> list[str]:
        """The columns there are."""
        ...

    def count(self) -> int | None:
        """About how many rows there are, cheaply; None when nobody can tell."""
        ...

    def splits(self, rows: int, key: str, conditions: Mapping[str, str]) -> list[Split]:
        """Parts of about so many rows that together are the table; `key` is their unique column.

        One part where the table cannot be cut.
        """
        ...

    def read(
        self,
        columns: Mapping[str, str],
        conditions: Mapping[str, str],
        rows: int,
        split: Split = WHOLE,
    ) -> Generator[pl.DataFrame, None, None]:
        """Frames of at most `rows` rows: our names for their columns, then the conditions."""
        ...

    def salvage(self, columns: Mapping[str, str]) -> Iterator[pl.DataFrame]:
        """What can be trusted all the same of a table that `read` refuses, which may be nothing."""
        ...


def open_table(place: Place) -> Table:
    """The table at a place; nothing is read yet."""
    in_store = place.url.startswith(_OBJECT_STORES)
    if FILE_NAMES.search(place.url) and (in_store or "://" not in place.url):
        if place.query is not None or place.table is not None:
            raise ConfigurationError(
                f"{place.label} reads files, which have neither query nor table; leave both out"
            )
        from audience_sync.customers.files import FileTable  # noqa: PLC0415 - only what is needed

        return FileTable(place, remote=in_store)
    if "://" not in place.url or in_store or place.url.startswith("http"):
        raise ConfigurationError(
            f"{place.label}.url is neither a database URL nor a path that ends in .parquet, .csv, "
            ".csv.gz, .ndjson or .ndjson.gz"
        )
    from audience_sync.customers.sql import SqlTable  # noqa: PLC0415 - only what is needed

    return SqlTable(place)
