"""A file of people who withdraw: what its columns may be called, and what errors say of it."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from pipeline_world import digest, granted
from withdrawn_world import WithdrawnWorld

from audience_sync.errors import AudienceSyncError, ConfigurationError, SourceError
from audience_sync.runs.withdrawal_files import read_withdrawals, stream_withdrawals

ROWS = [
    {"customer_id": "c1", "email": "p1@example.com", "phone": "070 000 00 01"},
    {"customer_id": "c2", "email": None, "phone": None},
]
DEVICE = "12345678-1234-1234-1234-1234567890ab"


def read(path: Path) -> pl.DataFrame:
    """All of a file."""
    return pl.concat(list(read_withdrawals(path, path.parent)))


def csv(rows: list[dict[str, str | None]]) -> bytes:
    """As a spreadsheet writes it."""
    lines = [",".join(rows[0]), *(",".join(value or "" for value in row.values()) for row in rows)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.ndjson", "a.NDJSON.gz", "a.parquet"])
def test_every_kind_of_file_is_read_alike(tmp_path: Path, name: str) -> None:
    """By its name, whatever the columns of others beside ours."""
    path = tmp_path / name
    rows = [row | {"note": "called us"} for row in ROWS]
    written = "\n".join(map(json.dumps, rows)).encode() if "json" in name.lower() else csv(rows)
    if name.endswith(".parquet"):
        pl.DataFrame(rows).write_parquet(path)
    else:
        path.write_bytes(gzip.compress(written) if name.endswith(".gz") else written)
    found = read(path)

    assert set(found.columns) == {"customer_id", "email", "phone"}
    assert found["customer_id"].to_list() == ["c1", "c2"]
    assert found["phone"].to_list()[0] == "070 000 00 01"


def test_stdin_holds_a_csv_or_parquet() -> None:
    """It has no name to tell."""
    parquet = BytesIO()
    pl.DataFrame(ROWS).write_parquet(parquet)
    for content in (csv(ROWS), parquet.getvalue()):
        [found] = stream_withdrawals(content)
        assert found["customer_id"].to_list() == ["c1", "c2"]


@pytest.mark.parametrize("end", ["\n", "\n\r\n", "\n  \n", "\r\n\x1a", "\n\x1a\r\n"])
@pytest.mark.parametrize("columns", [2, 1])
def test_a_csv_may_end_in_nothing(tmp_path: Path, end: str, columns: int) -> None:
    """A blank last line, or a Ctrl-Z, is no row that somebody should mend."""
    content = csv([dict(list(row.items())[:columns]) for row in ROWS]) + end.encode()
    (tmp_path / "a.csv").write_bytes(content)
    for found in (read(tmp_path / "a.csv"), *stream_withdrawals(content)):
        assert found["customer_id"].to_list() == ["c1", "c2"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (csv(ROWS).replace(b"\n", b"\r"), "a carriage return .* LF or CRLF"),
        (csv(ROWS).replace(b"\nc2", b"\rc2"), "in line 2 a carriage return"),
        (csv(ROWS) + b'\nc3,"p3@example.com,', "in line 4 a quote"),
        (csv(ROWS) + b'\nc3,"p3@exa', "in line 4 a quote"),
        (b'email,"note\np3@example.com,x\n', "in its header a quote is opened"),
        (b'email,"note\n\xff,x\n', "in its header a quote is opened"),
        (csv(ROWS) + b"\nc3,p3@example\n\xff,p3@example.com,", "row 4, .* fewer fields"),
    ],
)
def test_a_stream_is_looked_through_as_a_file_is(tmp_path: Path, content: bytes, told: str) -> None:
    """Half a row could name another person, wherever it comes from."""
    (tmp_path / "a.csv").write_bytes(content)
    for name, frames in (
        ("a.csv", read_withdrawals(tmp_path / "a.csv", tmp_path)),
        ("stdin", stream_withdrawals(content)),
        ("stdin", stream_withdrawals(gzip.compress(content))),
    ):
        with pytest.raises(SourceError, match=f"{name} .*{told}") as refused:
            list(frames)
        assert "p3" not in str(refused.value)


UNEVEN = [b"c3,p3@example", b"c3,p3@example.com,070,,"]


@pytest.mark.parametrize("uneven", UNEVEN)
@pytest.mark.parametrize("where", ["a.csv", "a.csv.gz", "stdin"])
def test_a_row_of_another_length_keeps_nobody_else_waiting(
    tmp_path: Path, where: str, uneven: bytes
) -> None:
    """The other rows are taken in; those that are not are numbered as they stand in the file."""
    world = WithdrawnWorld(tmp_path)
    lines = [b"customer_id,email,phone", b"c1,p1@example.com,", b"  ", uneven, b"", b",,", uneven]
    content = b"\n".join([*lines, b"c2,p2@example.com,", b"c9,nobody,", b""])
    path = tmp_path / where
    path.write_bytes(gzip.compress(content) if where.endswith("gz") else content)
    stream = where == "stdin"
    frames = stream_withdrawals(content) if stream else read_withdrawals(path, tmp_path)
    received = world.recorder().receive_frames(frames)

    assert (received.people, received.unusable, received.uneven) == (3, 3, 2)
    assert received.unusable_rows == (2, 3, 4)
    [made] = world.ledger.withdrawals()
    assert made.customers == 3


@pytest.mark.parametrize("uneven", UNEVEN)
def test_where_no_row_is_whole_nothing_is_taken_in(tmp_path: Path, uneven: bytes) -> None:
    """Then the file is not what it should be, and its error says why."""
    (tmp_path / "a.csv").write_bytes(b"customer_id,email,phone\n" + uneven)
    with pytest.raises(SourceError, match="row 2, counted with the header"):
        list(read_withdrawals(tmp_path / "a.csv", tmp_path))


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
def test_a_time_that_cannot_be_read_loses_nobody(tmp_path: Path, name: str) -> None:
    """It counts as now, so that no earlier grant lifts it, and its row is named."""
    world = WithdrawnWorld(tmp_path)
    times = ["2026-01-01", "31/01/2026", None, "soon"]
    emails = [f"p{n}@example.com" for n in range(4)]
    frame = pl.DataFrame({"email": emails, "decided_at": times})
    write = {"csv": frame.write_csv, "ndjson": frame.write_ndjson, "parquet": frame.write_parquet}
    write[name.split(".")[1]](tmp_path / name)
    received = world.recorder().receive_frames(read_withdrawals(tmp_path / name, tmp_path))

    assert (received.people, received.unusable) == (4, 0)
    assert (received.timeless, received.timeless_rows) == (2, (2, 4))
    world.write([granted(f"c{n}", email=emails[n], consent_at="2026-02-01") for n in range(4)])
    world.ran()
    assert world.partner.holds == {digest(emails[0])}


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet", "stdin"])
def test_a_phone_of_no_country_is_nobody_elses(tmp_path: Path, name: str) -> None:
    """It is not read by the default country; its row is named, and what else it says counts."""
    world = WithdrawnWorld(tmp_path)
    rows = [
        ("p0@example.com", "070 123 45 67", "XX"),
        (None, "070 123 45 68", "Sweden"),
        ("p2@example.com", "+46 70 123 45 69", "XX"),
        (None, "07911 123456", " uk "),
        ("p4@example.com", None, "XX"),
        (None, "070 123 45 60", " "),
    ]
    frame = pl.DataFrame(rows, schema=["email", "phone", "country"], orient="row")
    write = {"ndjson": frame.write_ndjson, "parquet": frame.write_parquet}
    write.get(Path(name).suffix.strip("."), frame.write_csv)(tmp_path / name)
    stream = name == "stdin"
    content = (tmp_path / name).read_bytes()
    frames = stream_withdrawals(content) if stream else read_withdrawals(tmp_path / name, tmp_path)
    received = world.recorder().receive_frames(frames)

    assert (received.unplaced, received.unplaced_rows) == (2, (1, 2))
    assert (received.people, received.unusable, received.unusable_rows) == (5, 1, (2,))
    phones = ["+46701234569", "+447911123456", "+46701234560"]
    withdrawn = [f"p{n}@example.com" for n in (0, 2, 4)]
    unread = ["+46701234567", "+46701234568"]
    people = [granted(f"e{n}", email=one) for n, one in enumerate(withdrawn)]
    people += [granted(f"c{n}", email=f"c{n}@example.com", phone=one)
               for n, one in enumerate([*phones, *unread])]  # fmt: skip
    world.write(people)
    world.ran()
    left = ["c3@example.com", "c4@example.com", *(phone.strip("+") for phone in unread)]
    assert world.partner.holds == set(map(digest, left))


def test_names_of_columns_may_be_written_as_people_do(tmp_path: Path) -> None:
    """Capitals and spaces; a device may be of either kind."""
    path = tmp_path / "a.csv"
    path.write_text(f" Email ,DEVICE, decided_at\na@b.se,{DEVICE},2026-11-01T00:00:00Z\n")
    found = read(path)

    assert set(found.columns) == {"email", "idfa", "decided_at"}
    assert found["decided_at"].to_list() == [1_793_491_200_000_000]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"name,country\nanna,SE\n", "names nobody"),
        ("a.csv", b"device,idfa\nx,y\n", "both a column device and a column idfa"),
        ("a.xlsx", b"PK", r"name it \.csv"),
        ("a.parquet", b"no parquet", "a.parquet"),
        ("a.csv", b'email\n"anna', "a.csv"),
    ],
)
def test_errors_name_the_file_and_no_value(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    """And no key of the project file, which has none for it."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AudienceSyncError, match=told) as refused:
        read(path)

    assert path.name in str(refused.value)
    assert "anna" not in str(refused.value)
    assert ".url" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["sqlite:///people.db", "s3://bucket/people.csv", "gone.csv", "*.csv"]
)
def test_nothing_but_one_file_is_opened(tmp_path: Path, url: str) -> None:
    """No database, no store and no pattern: what is withdrawn is what somebody looked at."""
    (tmp_path / "one.csv").write_text("email\na@b.se\n")
    with pytest.raises(ConfigurationError):
        list(read_withdrawals(Path(url), tmp_path))


def test_a_decision_in_a_file_has_its_own_time(tmp_path: Path) -> None:
    """A grant after it lifts it; a time ahead of ours counts as now; no time is now."""
    world = WithdrawnWorld(tmp_path)
    earlier = (world.time - timedelta(days=9)).isoformat()
    between = (world.time - timedelta(days=5)).isoformat()
    ahead = (world.time + timedelta(days=400)).isoformat()
    later = (world.time + timedelta(hours=1)).isoformat()
    times = [earlier, earlier, ahead, "", ""]
    grants = [between, earlier, later, between, later]
    world.write(
        [granted(f"c{n}", email=f"p{n}@example.com", consent_at=at) for n, at in enumerate(grants)]
    )
    path = tmp_path / "leaving.csv"
    rows = "".join(f"p{n}@example.com,{at}\n" for n, at in enumerate(times))
    path.write_text("email,decided_at\n" + rows)
    received = world.recorder().receive_frames(read_withdrawals(path, tmp_path))
    assert (received.people, received.unusable, received.earlier) == (5, 0, 2)
    world.time += timedelta(hours=2)
    world.ran()

    assert world.partner.holds == {digest(f"p{n}@example.com") for n in (0, 2, 4)}


@pytest.mark.parametrize("content", ["email,x\nanna@example.com\n".encode("utf-16"), bytes(70_000)])
def test_utf16_on_stdin_is_told_as_in_a_file(tmp_path: Path, content: bytes) -> None:
    """Its letters are not ours, so no row is looked for, and the sentence is the same."""
    told = []
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    for rows in (read_withdrawals(path, tmp_path), stream_withdrawals(content)):
        with pytest.raises(SourceError, match="it is UTF-16; save it as UTF-8") as wrong:
            list(rows)
        told.append(str(wrong.value))
    assert told[1].startswith("stdin cannot be read")


def test_a_row_of_separators_alone_is_counted(tmp_path: Path) -> None:
    """Who looks for the row that is named counts it; blank lines are no rows, as ever."""
    content = b"email,phone\n,\nbad1,\n\n,\nx1@example.com,\nbad2,12\n"
    for name, written in (("a.csv", content), ("b.csv.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(written)
        assert read(tmp_path / name)["row"].to_list() == [2, 4, 5]
        assert pl.concat(list(stream_withdrawals(written)))["row"].to_list() == [2, 4, 5]
    one = b"email\nbad1\n\nx1@example.com\nbad2\n"
    (tmp_path / "c.csv").write_bytes(one)
    assert read(tmp_path / "c.csv").columns == ["email"]


def test_a_file_damaged_after_its_first_rows_is_told_in_words(tmp_path: Path) -> None:
    """Counting its rows is no reason for another sentence than reading it has."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"email,phone\n,\n" + b"a@example.com,1\n" * 200_000 + b"\xff\xfe,2\n")
    with pytest.raises(SourceError):
        read(path)
