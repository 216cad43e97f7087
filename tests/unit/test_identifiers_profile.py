"""Columns that claim to be raw but look hashed, or the reverse, stop the run."""

from __future__ import annotations

import base64
import hashlib

import polars as pl
import pytest

from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.profile import profile, refuse_mismatch

RAW = [f"anna{n}@example.se" for n in range(100)]
HEX = [hashlib.sha256(value.encode()).hexdigest() for value in RAW]
BASE64 = [base64.b64encode(bytes.fromhex(value)).decode() for value in HEX]
MD5 = [hashlib.md5(value.encode(), usedforsecurity=False).hexdigest() for value in RAW]


def check(values: list[str | None], hashed_form: str | None, kind: Kind = Kind.EMAIL) -> None:
    refuse_mismatch(kind, profile(pl.Series(values, dtype=pl.String)), hashed_form)


def test_counts() -> None:
    """Nulls and blanks are left out; hashes of nothing count in both encodings."""
    empty = hashlib.sha256(b"").digest()
    nothing = [empty.hex().upper(), base64.b64encode(empty).decode()]
    values = [None, "", " \u200b", *RAW[:2], *HEX[:3], BASE64[0], MD5[0], *nothing]
    found = profile(pl.Series(values))

    assert found.values == 9
    assert (found.sha256_hex, found.sha256_base64, found.md5_hex) == (4, 2, 1)
    assert found.of_nothing == 2
    assert found.sha256 == pytest.approx(6 / 9)
    assert found.md5 == pytest.approx(1 / 9)
    assert found.nothing == pytest.approx(2 / 9)


def test_profiles_of_batches_add_up() -> None:
    """A column may be profiled batch by batch."""
    whole = profile(pl.Series(RAW + HEX + MD5))

    assert profile(pl.Series(RAW + HEX[:50])) + profile(pl.Series(HEX[50:] + MD5)) == whole


@pytest.mark.parametrize("values", [[], [None], [""], RAW, RAW[:97] + HEX[:3]])
def test_raw_columns_pass(values: list[str | None]) -> None:
    """A few stray hashes are dropped one by one, not a reason to stop."""
    check(values, None)


@pytest.mark.parametrize("values", [[], [None], [""], HEX, BASE64, HEX[:97] + RAW[:3]])
def test_hashed_columns_pass(values: list[str | None]) -> None:
    """Hex and base64 are both SHA-256."""
    check(values, "email/plain")


@pytest.mark.parametrize(
    ("values", "hashed_form", "message"),
    [
        (HEX, None, r"100% of the email column looks like SHA-256 already.*source\.hashed\.email"),
        ([v.upper() for v in HEX], None, "100% of the email column looks like SHA-256"),
        (BASE64, None, "100% of the email column looks like SHA-256"),
        (RAW[:96] + HEX[:4], None, "4% of the email column looks like SHA-256"),
        (MD5, None, "100% of the email column looks like MD5.*map the raw column"),
        (RAW, "email/plain", "says email/plain, but 100% of the column does not look like SHA-256"),
        (HEX[:96] + RAW[:4], "email/plain", "4% of the column does not look like SHA-256"),
        (MD5, "email/plain", "100% of the column looks like MD5"),
    ],
)
def test_mismatches_stop_the_run(
    values: list[str | None], hashed_form: str | None, message: str
) -> None:
    """One sentence with the share and the remedy, and no value."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        check(values, hashed_form)

    assert not any(value and value in str(caught.value) for value in values)


def test_an_external_id_may_be_a_uuid_without_hyphens() -> None:
    """32 hex digits are no sign of MD5 there."""
    check(list(MD5), None, Kind.EXTERNAL_ID)
    with pytest.raises(ConfigurationError, match="external_id column looks like SHA-256"):
        check(list(HEX), None, Kind.EXTERNAL_ID)
