"""The made-up customer base."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import phonenumbers
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from audience_sync.errors import ConfigurationError
from audience_sync.testing import customer_base
from audience_sync.testing.customer_base import change_customers, write_customer_base

DAY = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    path = tmp_path_factory.mktemp("base") / "customers.parquet"
    return pl.read_parquet(write_customer_base(path, 20_000, as_of=DAY))


def test_the_same_seed_gives_the_same_customers(base: pl.DataFrame, tmp_path: Path) -> None:
    """A benchmark of today can be repeated tomorrow."""
    again = write_customer_base(tmp_path / "a.parquet", 20_000, as_of=DAY)
    other = write_customer_base(tmp_path / "b.parquet", 20_000, seed=2, as_of=DAY)
    assert_frame_equal(pl.read_parquet(again), base)
    assert not pl.read_parquet(other).equals(base)


@pytest.mark.parametrize("name", ["c.db", "c.csv", "c.csv.gz", "c.ndjson", "c.parquet"])
def test_every_file_has_every_customer_and_column(
    base: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Written in chunks, whatever the suffix."""
    monkeypatch.setattr(customer_base, "CHUNK", 300)
    path = write_customer_base(tmp_path / name, 1000, as_of=DAY)
    if name.endswith(".db"):
        with closing(sqlite3.connect(path)) as opened:
            read = pl.read_database("SELECT * FROM customers", opened, infer_schema_length=None)
    elif name.endswith(".parquet"):
        read = pl.read_parquet(path)
    elif name.endswith(".ndjson"):
        read = pl.read_ndjson(path)
    else:
        read = pl.read_csv(path, infer_schema=False)
    assert read.columns == base.columns
    assert read["id"].cast(pl.Int64).to_list() == list(range(1, 1001))


def test_no_address_can_belong_to_a_person(base: pl.DataFrame) -> None:
    """Domains are reserved for examples, or the local part says that it is one."""
    usable = base["email"].drop_nulls().str.to_lowercase().str.strip_chars(" \t\u00a0\u200b")
    usable = usable.filter(usable.str.contains(r"^[^@\s]+@[^@\s]+\.(com|org|net)$"))
    harmless = usable.str.contains(r"@(.*\.)?example\.+(com|org|net)$") | (
        usable.str.contains(r"\.example\d+(\+butik)?@(gmail|googlemail)\.com$")
    )
    assert len(usable) > 15_000
    assert harmless.all()


def test_the_base_is_messy_in_the_promised_shares(base: pl.DataFrame) -> None:
    """Each trouble that a real base has is in it."""
    email, phone = base["email"].drop_nulls(), base["phone_number"].drop_nulls()
    unusable = ~email.str.contains(r"^\s*[^@\s]+@[^@\s]+\.[a-zA-Z]+[\s\u200b]*$")
    unusable |= email.str.contains("..", literal=True)
    assert 0.02 < (unusable.sum() or 0) / len(base) < 0.05
    for pattern in (r"[A-Z]{5}", "\u00a0", r"\+butik", "[öåø]", r"^ "):
        assert email.str.contains(pattern).any(), pattern
    for pattern in (r"^0\d", r"^00", r"\(0\)", r"\.", r"[a-z]", "\u00a0", r"^\+"):
        assert phone.str.contains(pattern).any(), pattern
    assert {"granted", "denied", "withdrawn", "objected", "unknown", None} < set(
        base["ads_consent"]
    )
    assert "partner_list" in set(base["collected_through"])
    assert "closed" in set(base["status"])
    assert (base["birth_date"] > DAY.date().replace(year=2008)).any()


def test_people_have_second_accounts_and_shared_phones(base: pl.DataFrame) -> None:
    """Duplicates are what merging and the latest word are about."""
    mailbox = base["email"].str.to_lowercase().str.strip_chars()
    digits = base["phone_number"].str.replace_all(r"\D", "").str.slice(-7)
    assert 0.02 < mailbox.drop_nulls().is_duplicated().mean() < 0.30  # type: ignore[operator]  # a mean of Booleans is a number
    assert 0.05 < digits.drop_nulls().is_duplicated().mean() < 0.40  # type: ignore[operator]  # the same


def test_most_phone_numbers_are_real_numbers_of_their_market(base: pl.DataFrame) -> None:
    """What people type is a valid number behind its mess."""
    sample = base.filter(pl.col("phone_number").str.count_matches(r"\d") >= 7).head(400)
    valid = 0
    for text, market in sample.select("phone_number", "market").iter_rows():
        cleaned = re.sub(r"[^\d+]", "", str(text).replace("(0)", ""))
        try:
            valid += phonenumbers.is_valid_number(phonenumbers.parse(cleaned, market))
        except phonenumbers.NumberParseException:
            continue
    assert valid / len(sample) > 0.85


def test_churn_changes_its_share_and_nothing_else(base: pl.DataFrame, tmp_path: Path) -> None:
    """A second base differs by withdrawals and newcomers only."""
    path = write_customer_base(tmp_path / "later.parquet", 20_000, churn=0.02, as_of=DAY)
    later = pl.read_parquet(path)
    stayed = base.join(later, on=base.columns, how="semi", nulls_equal=True)
    assert later.height == base.height
    assert 0.015 < 1 - stayed.height / base.height < 0.025
    assert (later["id"] > 10**9).any()


def test_customers_withdraw_change_and_arrive(tmp_path: Path) -> None:
    """The demonstration's second day."""
    path = write_customer_base(tmp_path / "customers.db", 2000, as_of=DAY)
    count = (
        "SELECT count(*), sum(ads_consent = 'withdrawn'), sum(email LIKE 'moved.%') FROM customers"
    )
    with closing(sqlite3.connect(path)) as opened:
        rows, withdrawn, _ = opened.execute(count).fetchone()
    changes = change_customers(path, withdraw=40, changed=30, new=20, as_of=DAY)
    assert (changes.withdrawn, changes.changed, changes.new) == (40, 30, 20)
    with closing(sqlite3.connect(path)) as opened:
        later, withdrawn_later, moved = opened.execute(count).fetchone()
    assert later == rows + 20
    assert withdrawn + 40 <= withdrawn_later <= withdrawn + 40 + 20
    assert moved == 30


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    """A file of that name may be somebody's real customers."""
    path = tmp_path / "customers.csv"
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match="exists already"):
        write_customer_base(path, 10)
    assert path.read_text() == "mine"


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    """The error lists what can be written."""
    with pytest.raises(ConfigurationError, match=r"\.parquet"):
        write_customer_base(tmp_path / "customers.xlsx", 10)


@pytest.mark.parametrize("customers", [0, 1])
def test_a_base_may_be_tiny(tmp_path: Path, customers: int) -> None:
    """Nobody and one person are bases too."""
    path = write_customer_base(tmp_path / "c.parquet", customers, as_of=DAY)
    assert pl.read_parquet(path).height == customers
