"""Customers in Parquet, CSV and NDJSON files, whole and broken."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from audience_sync.customers.description import SourceDescription
from audience_sync.customers.files import FileTable
from audience_sync.customers.policy import microseconds
from audience_sync.customers.source import Source, open_source
from audience_sync.customers.table import Place
from audience_sync.errors import ConfigurationError, SourceError

COLUMNS = {
    "customer_id": "id",
    "email": "email",
    "consent": "consent",
    "consent_at": "consent_at",
    "birth_date": "born",
}
SECRET = "anna@example.com"
CUSTOMERS = pl.DataFrame(
    {
        "id": [1, 2, 3],
        "email": [SECRET, None, "bo@example.com"],
        "consent": [True, False, None],
        "consent_at": [datetime(2026, 1, 2, 3, 4, 5), datetime(1815, 12, 10), None],  # noqa: DTZ001 - naive is UTC here
        "born": [date(1890, 1, 1), None, date(2030, 5, 6)],
        "value": [6000, 50, None],
        "bought_at": [datetime(2026, 4, 30), datetime(2026, 5, 1), None],  # noqa: DTZ001 - naive is UTC here
        "zip": ["01234", "11122", None],
        "club": [True, False, None],
        "nothing": pl.Series([None, None, None], dtype=pl.String),
    }
)
EXPECTED = pl.DataFrame(
    {
        "customer_id": ["1", "2", "3"],
        "email": [SECRET, None, "bo@example.com"],
        "consent": ["true", "false", None],
        "consent_at": [
            microseconds(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            microseconds(datetime(1815, 12, 10, tzinfo=UTC)),
            None,
        ],
        "birth_date": [date(1890, 1, 1), None, date(2030, 5, 6)],
    }
)


def pack(path: Path) -> None:
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))


def write(folder: Path, name: str, customers: pl.DataFrame = CUSTOMERS) -> None:
    path = folder / name.removesuffix(".gz")
    if ".parquet" in name:
        customers.write_parquet(path, row_group_size=2)
    elif ".csv" in name:
        customers.write_csv(path)
    else:
        customers.write_ndjson(path)
    if name.endswith(".gz"):
        pack(path)


def source(folder: Path, url: str, columns: Mapping[str, str] = COLUMNS) -> Source:
    return open_source(SourceDescription(url=url, columns=columns, base=folder))


def read(
    source: Source, predicates: Mapping[str, str] | None = None, rows: int = 2
) -> pl.DataFrame:
    frames = list(source.batches(predicates or {}, rows))
    assert all(0 < frame.height <= rows for frame in frames)
    return pl.concat(frames)


@pytest.fixture(params=["c.parquet", "c.csv", "c.csv.gz", "c.ndjson", "c.ndjson.gz"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name = str(request.param)
    write(tmp_path, name)
    return name


def test_every_format_gives_the_same_customers(tmp_path: Path, file: str) -> None:
    """Whatever the customers lie in, they come out the same, in frames no larger than asked."""
    opened = source(tmp_path, file)

    assert_frame_equal(EXPECTED, read(opened))
    assert opened.columns() == CUSTOMERS.columns
    assert opened.count() in (3, None)


@pytest.mark.parametrize(
    ("condition", "members"),
    [
        ("value > 5000", [True, False, False]),
        ("value <= 6000.5 AND id IN (1, 2)", [True, True, False]),
        ("bought_at < '2026-05-01'", [True, False, False]),
        ("zip = '01234'", [True, False, False]),
        ("zip LIKE '1%' OR value > 100 -- of both", [True, True, False]),
        ("club", [True, False, False]),
        ("NOT club", [False, True, False]),
        ("nothing IS NULL", [True, True, True]),
        ("email IS NULL", [False, True, False]),
    ],
)
def test_conditions_mean_the_same_in_every_format(
    tmp_path: Path, file: str, condition: str, members: list[bool]
) -> None:
    """A condition selects the same customers from a CSV as from a file that knows types."""
    found = read(source(tmp_path, file), {"some people": condition})

    assert found["audience:some people"].to_list() == members
    assert_frame_equal(EXPECTED, found.drop("audience:some people"))


def test_numbers_in_a_csv_can_be_compared_as_text(tmp_path: Path) -> None:
    """A column of digits is also compared with quoted digits."""
    write(tmp_path, "c.csv")

    found = read(source(tmp_path, "c.csv"), {"a": "id = '2'", "b": "value > 5000"})

    assert found["audience:a"].to_list() == [False, True, False]
    assert found["audience:b"].to_list() == [True, False, False]


def test_numbers_in_a_csv_are_judged_over_all_files(tmp_path: Path) -> None:
    """A column is a number only where it is one in every file."""
    write(tmp_path, "a.csv")
    write(tmp_path, "b.csv", CUSTOMERS.with_columns(value=pl.lit("much")))

    with pytest.raises(ConfigurationError, match="audience rich cannot be run: it does not fit"):
        source(tmp_path, "*.csv").check({"rich": "value > 5000"})


def test_a_glob_reads_all_files_in_order(tmp_path: Path) -> None:
    """Files are read by name; further columns and other types in some of them do no harm."""
    write(tmp_path, "b.parquet", CUSTOMERS.tail(1).with_columns(extra=1, id=pl.lit("3")))
    write(tmp_path, "a.parquet", CUSTOMERS.head(2).select(pl.all().reverse()).reverse())

    assert_frame_equal(EXPECTED, read(source(tmp_path, "*.parquet")))
    assert_frame_equal(EXPECTED, read(source(Path("/"), str(tmp_path / "*.parquet"))))


def test_files_that_lack_a_column_are_named(tmp_path: Path) -> None:
    """All files are looked at before the first row is given."""
    write(tmp_path, "a.parquet")
    write(tmp_path, "b.parquet", CUSTOMERS.drop("email"))

    with pytest.raises(ConfigurationError, match=r"email.*b\.parquet has no such column"):
        next(source(tmp_path, "*.parquet").batches({}))


def test_semicolons_are_understood(tmp_path: Path) -> None:
    """A CSV as spreadsheets write it in most of Europe is read."""
    CUSTOMERS.write_csv(tmp_path / "c.csv", separator=";", include_bom=True)

    assert_frame_equal(EXPECTED, read(source(tmp_path, "c.csv")))


def test_a_wrong_column_is_named_with_the_closest(tmp_path: Path, file: str) -> None:
    """The error says which columns there are and which was probably meant."""
    with pytest.raises(ConfigurationError, match=r'names "e_mail".*did you mean "email".*consent'):
        read(source(tmp_path, file, {**COLUMNS, "email": "e_mail"}))


def test_a_file_without_a_header_is_not_told(tmp_path: Path) -> None:
    """Where the header is missing, the first customer is not printed in its place."""
    (tmp_path / "c.csv").write_text(f"Anna,Berg,{SECRET},0701234567,true\n")

    for conditions in ({}, {"se": "market = 'SE'"}):
        with pytest.raises(ConfigurationError, match="has it a header") as caught:
            read(source(tmp_path, "c.csv"), conditions)
        assert "Anna" not in str(caught.value)


def test_equal_names_are_refused(tmp_path: Path) -> None:
    """Which of two columns of one name is meant, nobody can tell."""
    (tmp_path / "c.csv").write_text("id,consent,consent\n1,true,false\n")

    with pytest.raises(ConfigurationError, match=r"consent.* more than once"):
        read(source(tmp_path, "c.csv", {"customer_id": "id", "consent": "consent"}))


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("valu > 5", 'no column "valu".*did you mean "value"'),
        ("value >", "not understood"),
        ("value + 1", "does not fit the types"),
        ("email > 5", "does not fit the types"),
        ("nofunction(value)", "not understood|does not fit"),
        ("", "not understood"),
    ],
)
def test_a_wrong_condition_names_its_audience(
    tmp_path: Path, file: str, condition: str, why: str
) -> None:
    """A condition that cannot be run is refused before a row is read."""
    with pytest.raises(ConfigurationError, match=f"audience lapsed.*(?:{why}).*audiences.lapsed"):
        next(source(tmp_path, file).batches({"fine": "value > 1", "lapsed": condition}))


def test_an_empty_table_gives_no_rows(tmp_path: Path, file: str) -> None:
    """No customers are no error here; a guard looks at it."""
    write(tmp_path, file, CUSTOMERS.head(0))

    assert sum(f.height for f in source(tmp_path, file).batches({})) == 0


def test_only_nulls(tmp_path: Path, file: str) -> None:
    """Columns without a single value are read as missing values."""
    nobody = CUSTOMERS.clear(2).with_columns(id=pl.Series(["7", "8"]))
    write(tmp_path, file, nobody)

    found = read(source(tmp_path, file), {"rich": "value > 5000"})

    assert found["customer_id"].to_list() == ["7", "8"]
    assert found["audience:rich"].to_list() == [False, False]
    assert found.drop("customer_id", "audience:rich").null_count().row(0) == (2, 2, 2, 2)


@pytest.mark.parametrize("name", ["c.parquet", "c.csv", "c.ndjson"])
def test_strange_text_survives(tmp_path: Path, name: str) -> None:
    """A megabyte in a field, a NUL byte, quotes and line breaks are values like others."""
    strange = ["x" * 2**20, "a\x00b", 'a "quoted"\nline, and more']
    write(tmp_path, name, CUSTOMERS.with_columns(email=pl.Series(strange)))

    assert read(source(tmp_path, name))["email"].to_list() == strange


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def shortened(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content) + b"7,anna@example.com\n8")


@pytest.mark.parametrize(
    ("name", "spoil", "why"),
    [
        ("c.parquet", cut, "not a whole Parquet file"),
        ("c.parquet", lambda _: b"", "cannot be read as parquet; see whether it is whole"),
        (
            "c.csv",
            lambda content: content + b'"broken,row\n1,2\n',
            "in line 1502 a quote is opened .* write the file whole",
        ),
        ("c.csv", lambda content: content + b"7,anna@example.com,tr", "row 1502, .* fewer fields"),
        ("c.csv.gz", shortened, "row 1502, .* fewer fields .* write the file whole"),
        ("c.parquet", lambda content: content[:60] + bytes(40) + content[100:], "cannot be read"),
        ("c.csv.gz", cut, "ends too early"),
        ("c.ndjson.gz", cut, "ends too early"),
        ("c.csv", lambda content: content.replace(b"bo@", b"\xff\xfe@"), "not UTF-8; save"),
        ("c.csv", lambda content: content.decode().encode("utf-16"), "UTF-16; save it as UTF-8"),
        ("c.csv", lambda _: b"", "empty, without even a header"),
        ("c.csv", lambda content: content + b"1,2,3,4,5,6,7,8,9,10,11\n", "more fields"),
        ("c.csv", lambda content: content.replace(b"\n", b"\r"), "carriage return .* LF or CRLF"),
        (
            "c.csv",
            lambda content: content.replace(b"\n2,", b"\r2,", 1),
            "in line 3 a carriage return .* LF or CRLF",
        ),
        ("c.csv", lambda content: content + b"7,anna\rb,tr\n", "in line 1502 a carriage return"),
        (
            "c.ndjson",
            lambda content: content + b'{"id": "anna@example.com',
            "cannot be read as ndjson; see whether it is whole",
        ),
    ],
)
def test_broken_files_are_explained(
    tmp_path: Path, name: str, spoil: Callable[[bytes], bytes], why: str
) -> None:
    """A broken file is named, with what is wrong where we know it, and never with a value."""
    many = pl.concat([CUSTOMERS] * 500).with_columns(id=pl.int_range(1500))
    write(tmp_path, name, many)
    path = tmp_path / name
    path.write_bytes(spoil(path.read_bytes()))

    with pytest.raises(SourceError, match=rf"{name} of source\.url.*{why}") as caught:
        read(source(tmp_path, name), rows=1_000)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_open_quote_is_found_under_a_condition(tmp_path: Path) -> None:
    """Whose types are read before any row is looked at; the line is named all the same."""
    write(tmp_path, "c.csv", CUSTOMERS)
    with (tmp_path / "c.csv").open("ab") as file:
        file.write(b'7,"anna@example.com\n')

    with pytest.raises(SourceError, match=r"in line 5 a quote is opened .* close it"):
        read(source(tmp_path, "c.csv"), {"rich": "value > 5000"})


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (b"7,anna@example.com", "row 5, .* fewer fields .* write the file whole"),
        (b'7,"anna@example.com\n', "in line 5 a quote is opened"),
        (b"7,anna@example.com,\r8,,", "in line 5 a carriage return"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_csv_of_an_object_store_is_looked_through_alike(
    tmp_path: Path, end: bytes, why: str, pack: Callable[[bytes], bytes]
) -> None:
    """As a stream, packed or not: no half of a row is taken for a whole one."""
    write(tmp_path, "c.csv")
    whole = (tmp_path / "c.csv").read_bytes()
    (tmp_path / "whole.csv").write_bytes(pack(whole))
    (tmp_path / "broken.csv").write_bytes(pack(whole + end))

    assert stored(tmp_path, "who*.csv")["customer_id"].to_list() == ["1", "2", "3"]
    with pytest.raises(SourceError, match=rf"broken\.csv of source\.url .* {why}") as caught:
        stored(tmp_path, "broken.csv")
    assert SECRET not in str(caught.value)


def stored(folder: Path, name: str) -> pl.DataFrame:
    """What is read at a URL, which Polars reads as it reads one of a store."""
    place = Place(label="source", url=f"{folder.as_uri()}/{name}", base=folder)
    return pl.concat(FileTable(place, remote=True).read({"customer_id": "id"}, {}, 2))


@pytest.mark.parametrize("end", ["\n", "\r\n", "   \n", "\x1a", "\r\n\x1a\r\n", "\t\n\n\x1a\n"])
def test_a_csv_may_end_in_nothing(tmp_path: Path, end: str) -> None:
    """A blank last line, or the Ctrl-Z of old programs, is nobody and no broken row."""
    write(tmp_path, "c.csv")
    (tmp_path / "d.csv").write_bytes((tmp_path / "c.csv").read_bytes() + end.encode())

    found = read(source(tmp_path, "d.csv"), {"rich": "value > 5000"})
    assert_frame_equal(found.drop("audience:rich"), EXPECTED)


def test_a_row_of_another_length_in_another_encoding_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a traceback of the library that looks for it."""
    unraised: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", unraised.append)
    (tmp_path / "c.csv").write_bytes(
        ",".join(COLUMNS.values()).encode() + "\n7,Müller, Anna\n".encode("latin-1")
    )

    with pytest.raises(SourceError, match="fewer fields"):
        read(source(tmp_path, "c.csv"))
    assert unraised == []


OPEN_HEADERS = [(old, new) for old in ("born", "email", "id") for new in (f'"{old}', f'{old}"')]


@pytest.mark.parametrize(("old", "new"), OPEN_HEADERS)
@pytest.mark.parametrize("row", ["7,x@example.com,true,,", '7,x@example.com,"true",,"1990-01-01"'])
@pytest.mark.parametrize("packed", [False, True])
def test_a_quote_left_open_in_the_header_does_not_make_a_file_look_empty(
    tmp_path: Path, old: str, new: str, row: str, *, packed: bool
) -> None:
    """Nobody in it would count as gone, and no row is told as a column's name."""
    header = "id,email,consent,consent_at,born"
    (tmp_path / "c.csv").write_text(f"{header.replace(old, new)}\n{row}\n{row}\n")
    if packed:
        pack(tmp_path / "c.csv")
    columns = {"customer_id": "id", "email": "email", "consent": "consent"}

    with pytest.raises(SourceError, match="in its header a quote is opened") as caught:
        read(source(tmp_path, "c.csv.gz" if packed else "c.csv", columns))
    assert "example" not in str(caught.value)


def test_the_name_of_a_column_may_go_over_lines(tmp_path: Path) -> None:
    """As a spreadsheet writes it; its quote is closed."""
    header = 'id,email,"born\nwhen, if known",consent'
    (tmp_path / "c.csv").write_text(f'{header}\n7,x@example.com,,"true"\n')
    columns = {"customer_id": "id", "email": "email", "consent": "consent"}

    assert read(source(tmp_path, "c.csv", columns))["customer_id"].to_list() == ["7"]


def test_a_packed_file_is_looked_at_however_its_name_is_written(tmp_path: Path) -> None:
    """What is packed shows in the content, by which it is read, too."""
    write(tmp_path, "c.csv.gz")
    packed = shortened((tmp_path / "c.csv.gz").read_bytes())
    (tmp_path / "D.CSV.GZ").write_bytes(packed)

    with pytest.raises(SourceError, match="fewer fields"):
        read(source(tmp_path, "D.CSV.GZ"))


@pytest.mark.parametrize(
    "content",
    [
        'id,email,consent,consent_at,born\n7,"x@example.com\nand, more",true,,\n',
        'id;email;consent;consent_at;born\n7;"a;b";true;;""\n\n\n',
        "\ufeffid,email,consent,consent_at,born\r\n7,,true,,\r\n8,,false,,",
        'id,email,consent,consent_at,born\n7,5" pipe,true,,',
    ],
)
def test_whole_rows_in_unusual_writing_are_read(tmp_path: Path, content: str) -> None:
    """Breaks, quotes, blank lines and empty last fields do not make a row too short."""
    (tmp_path / "c.csv").write_text(content, encoding="utf-8")

    assert read(source(tmp_path, "c.csv"))["customer_id"].drop_nulls().to_list()[:1] == ["7"]


def test_no_file_is_an_error(tmp_path: Path) -> None:
    """A glob that matches nothing is told, not read as no customers."""
    with pytest.raises(ConfigurationError, match=r"no file matches customers/\*\.csv"):
        source(tmp_path, "customers/*.csv").count()


@pytest.mark.parametrize("missing", ["consent", "customer_id"])
def test_consent_must_be_mapped(tmp_path: Path, missing: str) -> None:
    """L1: a source that maps no consent is a mistake, not consent."""
    columns = {name: column for name, column in COLUMNS.items() if name != missing}

    with pytest.raises(ConfigurationError, match=f"must map {missing}"):
        source(tmp_path, "c.csv", columns)


def test_names_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    """A misspelt name of ours is not left out silently."""
    with pytest.raises(ConfigurationError, match=r"source\.columns has no mail"):
        source(tmp_path, "c.csv", {**COLUMNS, "mail": "email"})


@pytest.mark.parametrize("url", ["customers.xlsx", "s3://bucket/x", "", "https://u:p@h/x.csv"])
def test_unknown_places_are_refused(tmp_path: Path, url: str) -> None:
    """What is neither a database nor a file that we read is told."""
    with pytest.raises(ConfigurationError, match="neither a database URL nor a path") as caught:
        source(tmp_path, url)
    assert "u:p" not in str(caught.value)


def test_files_have_no_query(tmp_path: Path) -> None:
    """A query on files would be left out silently, so it is refused."""
    with pytest.raises(ConfigurationError, match="neither query nor table"):
        open_source(
            SourceDescription(url="c.csv", table="customers", columns=COLUMNS, base=tmp_path)
        )


def test_nothing_prints_values_or_secrets(tmp_path: Path) -> None:
    """Descriptions and sources hide their URL, which may hold a password."""
    description = SourceDescription(
        url="postgresql://u:hunter2@host/db", table="t", columns=COLUMNS, base=tmp_path
    )

    assert "hunter2" not in repr(description) + repr(open_source(description))
