"""Whether every row of a CSV is as long as its header, and which lines of it are no rows.

Polars takes a row that is too short with its missing fields empty. A file that is still being
written ends in such a row, and whoever stands in it would lose a consent or an address.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pyarrow as pa
from pyarrow import csv

# A CSV as a file, as its bytes, or by the URL of an object store, where it is read as a stream.
Text: TypeAlias = Path | bytes | str
Look: TypeAlias = Callable[[csv.InvalidRow], str]

_BLOCK = 1 << 22  # bytes; no row is longer, or the file is not looked at further
_HEADER = 1 << 16  # bytes
_LINES = 50_000  # of an object store, at a time
_SEPARATORS = (",", ";", "\t", "|")
_GZIP = b"\x1f\x8b"
BLANK = " \t\r\n\x1a"  # Ctrl-Z is how DOS and its heirs end a text
_LONE_RETURN = re.compile(r"\r(?!\n)")
_QUOTED = r'"[^"]*"'
_NOTHING = csv.ConvertOptions(include_columns=["\x00"], include_missing_columns=True)
_UTF16 = "it is UTF-16; save it as UTF-8"
_LINE_ENDS = "a carriage return (CR) stands alone; end every line in LF or CRLF"


def without_blank_lines(scan: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of a CSV of texts: a line of nothing, of spaces or of a Ctrl-Z is none."""
    first, *others = scan.collect_schema().names()
    written = (pl.col(first).str.strip_chars(BLANK) != "").fill_null(value=False)
    return scan.filter(pl.any_horizontal(written, *(pl.col(name).is_not_null() for name in others)))


def rows_of_nothing(text: Path | bytes) -> list[int]:
    """The numbers of rows of separators alone, which `without_blank_lines` leaves out as well.

    A person who counts the rows counts them, and no blank line. Polars reads both alike, so that
    only the lines tell which is which; where a quote holds such lines all count as rows.
    """
    separator = separator_of(text)
    scan = pl.scan_csv(text, infer_schema=False, separator=separator, glob=False)
    first, *others = scan.collect_schema().names()
    bare = pl.all_horizontal(pl.lit(value=True), *(pl.col(name).is_null() for name in others))
    blank = (pl.col(first).str.strip_chars(BLANK) == "").fill_null(value=True)
    rows = scan.with_row_index("\0at").filter(bare & blank).select("\0at")
    left_out = rows.collect(engine="streaming").to_series().to_list()
    if not left_out or not others:
        return []
    line, signs = pl.col("line"), re.escape(separator)
    bare_lines = pl.scan_lines(text, glob=False).filter(line.str.contains(f"^[{signs}{BLANK}]*$"))
    told = bare_lines.select(line.str.contains(signs)).collect(engine="streaming").to_series()
    counted = told.to_list() if len(told) == len(left_out) else [True] * len(left_out)
    kept = [at - place for place, at in enumerate(left_out)]
    of_rows = [before for before, is_row in zip(kept, counted, strict=True) if is_row]
    return [before + place for place, before in enumerate(of_rows, start=1)]


def separator_of(text: Text) -> str:
    """The same as `separator_in` of a text that is here, packed or not."""
    with opened_text(text) as stream:
        return separator_in(stream.read(_HEADER))


def separator_in(beginning: bytes) -> str:
    """What separates the columns of a CSV's header; a comma unless there is none."""
    header = beginning.split(b"\n", 1)[0]
    return next((sign for sign in _SEPARATORS if sign.encode() in header), _SEPARATORS[0])


def find_wrong_header(columns: Collection[str], text: Text) -> str | None:
    """What is wrong where a header shows that the lines or the letters of a CSV are not ours.

    A quote that stays open there hides every row: the file would look empty.
    """
    if any("\0" in name for name in columns):
        return _UTF16
    if any(_LONE_RETURN.search(name) for name in columns):
        return f"in its first line {_LINE_ENDS}"
    if any('"' in name or "\n" in name for name in columns) and _has_odd_quotes(text):
        return "in its header a quote is opened and never closed; close it, or take it out"
    return None


def _has_odd_quotes(text: Text) -> bool:
    odd = 0
    with opened_text(text) as stream:
        while block := stream.read(_BLOCK):
            odd ^= block.count(b'"') % 2
    return bool(odd)


def find_uneven_row(text: Text, separator: str) -> str | None:
    """What is wrong with the first row that has not one field for each column, None without one.

    Blank lines are no rows. All other damage is left to whoever reads the rows.
    """
    if read_through(text, separator):
        return None
    row = _first_uneven(text, separator)
    if row is None:
        return None
    if row.text.count('"') % 2:
        return find_open_quote(text)
    size = "fewer" if row.actual_columns < row.expected_columns else "more"
    return find_lone_return(text) or (
        f"row {row.number}, counted with the header, has {size} fields than the header; "
        "write the file whole before it takes its name"
    )


def find_open_quote(text: Text) -> str:
    """Where a quote is opened that nobody closes: told if one line only can be meant."""
    odd = _lines(text, pl.col("line").str.count_matches('"', literal=True) % 2 == 1)
    place = f"in line {odd[0]} " if len(odd) == 1 else ""
    return f"{place}a quote is opened and never closed; close it, or write the file whole"


def find_lone_return(text: Text) -> str | None:
    """Where a line holds a carriage return outside quotes, as if two lines were one."""
    bare = pl.col("line").str.replace_all(_QUOTED, "").str.strip_suffix("\r")
    found = _lines(text, bare.str.contains("\r", literal=True))
    return f"in line {found[0]} {_LINE_ENDS}" if found else None


def _lines(text: Text, wanted: pl.Expr) -> list[int]:
    """The numbers of the first two such lines; none where the lines cannot be read."""
    lines = pl.scan_lines(text, row_index_name="at", row_index_offset=1, glob=isinstance(text, str))
    try:
        found = lines.filter(wanted).select("at").head(2).collect(engine="streaming")
    except pl.exceptions.PolarsError:
        return []
    return found["at"].to_list()


def _first_uneven(text: Text, separator: str) -> csv.InvalidRow | None:
    found: list[csv.InvalidRow] = []

    def stop(row: csv.InvalidRow) -> str:
        if not row.text.strip(BLANK):
            return "skip"
        found.append(row)
        return "error"

    read_through(text, separator, stop)
    return found[0] if found else None


def read_through(text: Text, separator: str, look: Look | None = None) -> bool:
    """Whether the rows can be read to the end; with a `look` several times as slow.

    Only as Latin-1 any row can be looked at.
    """
    encoding = "utf8" if look is None else "latin-1"
    try:
        with row_reader(text, separator, look, _NOTHING, encoding) as batches:
            for _ in batches:
                pass
    except pa.ArrowException:
        return False
    return True


def row_reader(
    text: Text,
    separator: str,
    look: Look | None,
    wanted: csv.ConvertOptions,
    encoding: str = "utf8",
) -> csv.CSVStreamingReader:
    """A reader of batches. Only one without threads can number rows for a `look`."""
    return csv.open_csv(
        opened_text(text),
        read_options=csv.ReadOptions(
            use_threads=look is None, block_size=_BLOCK, encoding=encoding
        ),
        parse_options=csv.ParseOptions(
            delimiter=separator, newlines_in_values=True, invalid_row_handler=look
        ),
        convert_options=wanted,
    )


def opened_text(text: Text) -> pa.NativeFile:
    """The text unpacked; what is packed shows in the content, whatever its name, as Polars sees it.

    An object store is left to Polars, too, which knows the credentials.
    """
    if isinstance(text, str):
        return pa.PythonFile(_Stored(text), mode="r")
    if isinstance(text, bytes):
        return pa.input_stream(pa.py_buffer(text), compression=_packed(text))
    with text.open("rb") as file:
        start = file.read(len(_GZIP))
    return pa.input_stream(str(text), compression=_packed(start))


def _packed(start: bytes) -> str | None:
    return "gzip" if start.startswith(_GZIP) else None


class _Stored(io.RawIOBase):
    """The bytes of all files at a URL, one after the other, without any of them on a disk."""

    def __init__(self, url: str) -> None:
        lines = pl.scan_lines(url)
        self._batches = lines.collect_batches(chunk_size=_LINES, engine="streaming")
        self._rest = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # a narrower buffer is all that is passed
        """Fill a part of the buffer; 0 at the end."""
        while not self._rest:
            frame = next(self._batches, None)
            if frame is None:
                return 0
            self._rest = str(frame["line"].str.join("\n").item()).encode() + b"\n"
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
