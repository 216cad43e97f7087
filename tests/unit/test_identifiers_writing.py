"""Customers' columns to arrays of bytes."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.forms import FORMS, IDENTITY_FORMS
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.phones import to_e164
from audience_sync.identifiers.writing import identity_form, require_form, write_forms

EVERYTHING = [(kind, f.name) for f in FORMS.values() for kind in Kind if f.takes(kind)]
DEVICE = "aebe52e7-03ee-455a-b3c4-e57283966239"


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_shapes(rows: int) -> None:
    """Every array has a row for each customer, is C-contiguous and may be written to."""
    frame = pl.DataFrame({kind.value: [None] * rows for kind in Kind})
    for columns in (frame, frame.select(pl.col("email")), frame.cast(pl.String)):
        found = write_forms(columns, EVERYTHING, default_country="SE")

        assert set(found) == set(EVERYTHING)
        for (kind, name), array in found.items():
            expected = rows if kind.value in columns.columns or columns.width else 0
            assert array.shape == (expected, FORMS[name].width)
            assert array.flags.c_contiguous
            assert array.flags.writeable
            assert array.dtype == np.uint8
            assert not array.any()


def test_every_kind_in_every_form() -> None:
    """One customer with all identifiers, in all forms at once."""
    frame = pl.DataFrame(
        {
            "email": [" A.B+c@GMail.com "],
            "phone": ["070-123 45 67"],
            "idfa": [DEVICE.upper()],
            "gaid": [DEVICE],
            "external_id": [" C-1 "],
            "country": ["SE"],
        }
    )
    found = write_forms(frame, EVERYTHING, default_country=None)

    raw = bytes.fromhex(DEVICE.replace("-", ""))
    assert {key: array[0].tobytes() for key, array in found.items()} == {
        (Kind.EMAIL, "email/plain"): sha256("a.b+c@gmail.com"),
        (Kind.EMAIL, "email/gmail-folded"): sha256("ab@gmail.com"),
        (Kind.PHONE, "phone/e164"): sha256("+46701234567"),
        (Kind.PHONE, "phone/digits"): sha256("46701234567"),
        (Kind.IDFA, "device/lower"): sha256(DEVICE),
        (Kind.GAID, "device/lower"): sha256(DEVICE),
        (Kind.IDFA, "device/raw"): raw,
        (Kind.GAID, "device/raw"): raw,
        (Kind.EXTERNAL_ID, "external-id/plain"): sha256("C-1"),
    }


def test_external_ids_that_are_numbers() -> None:
    """Integers are hashed as their text."""
    frame = pl.DataFrame({"external_id": [42, None]})
    found = write_forms(frame, [(Kind.EXTERNAL_ID, "external-id/plain")], default_country=None)

    assert found[Kind.EXTERNAL_ID, "external-id/plain"][0].tobytes() == sha256("42")
    assert not found[Kind.EXTERNAL_ID, "external-id/plain"][1].any()


def test_columns_that_hold_hashes_are_decoded() -> None:
    """Hex of either case and base64 give the digest; all else, and hashes of nothing, none."""
    made = sha256("anna@example.se")
    values = [
        made.hex(),
        f" {made.hex().upper()}\n",
        base64.b64encode(made).decode(),
        sha256("").hex(),
        sha256("NULL").hex().upper(),
        base64.b64encode(sha256(" ")).decode(),
        "anna@example.se",
        made.hex()[:-1],
        "",
        None,
    ]
    frame = pl.DataFrame({"email": values})
    plain = (Kind.EMAIL, "email/plain")
    found = write_forms(frame, [plain], default_country=None, hashed={Kind.EMAIL: plain[1]})

    expected = [made] * 3 + [bytes(32)] * 7
    assert [row.tobytes() for row in found[plain]] == expected


def test_a_hash_in_a_raw_column_is_never_hashed_again() -> None:
    """A value that looks hashed is none in every raw column."""
    made = sha256("anna@example.se")
    for value in (made.hex(), made.hex().upper(), base64.b64encode(made).decode()):
        frame = pl.DataFrame({kind.value: [value] for kind in Kind})
        for array in write_forms(frame, EVERYTHING, default_country="SE").values():
            assert not array.any()


def test_hashes_made_by_another_form_are_refused() -> None:
    """A hash cannot be converted; the error names both forms and says what to do."""
    with pytest.raises(ConfigurationError, match=r"email/gmail-folded.*made by email/plain"):
        require_form(Kind.EMAIL, "email/gmail-folded", {Kind.EMAIL: "email/plain"})
    with pytest.raises(ConfigurationError, match="which is not hashed"):
        require_form(Kind.IDFA, "device/raw", {Kind.IDFA: "device/raw"})
    with pytest.raises(ConfigurationError, match="email cannot be written as phone/e164"):
        require_form(Kind.EMAIL, "email/plain", {Kind.EMAIL: "phone/e164"})
    with pytest.raises(ConfigurationError, match="email/gmail-folded"):
        write_forms(
            pl.DataFrame({"email": ["a"]}),
            [(Kind.EMAIL, "email/gmail-folded")],
            default_country=None,
            hashed={Kind.EMAIL: "email/plain"},
        )


def test_the_identity_form_is_the_one_that_the_source_hashed_by() -> None:
    """Hashes that the source made recognise a person as they are."""
    assert identity_form(Kind.EMAIL, {}) == IDENTITY_FORMS[Kind.EMAIL]
    assert identity_form(Kind.EMAIL, {Kind.EMAIL: "email/plain"}) == "email/plain"


def test_the_customers_frame_is_left_as_it_was() -> None:
    """Writing changes no column that other parts still read."""
    frame = pl.DataFrame(
        {"email": ["\u200bA.B@gmail.com"], "phone": ["070\u202f1234567"], "idfa": [f" {DEVICE}"]}
    )
    before = frame.rows()
    phone = frame["phone"]
    write_forms(frame, EVERYTHING, default_country="SE")
    to_e164(phone, None, "SE")

    assert frame.rows() == before
    assert phone.to_list() == [before[0][1]]


def test_two_threads_at_once() -> None:
    """Batches written side by side come out as if written alone."""
    frames = [
        pl.DataFrame({"email": [f"a.{n}+x@gmail.com" for n in range(start, start + 500)]})
        for start in range(0, 4000, 500)
    ]
    wanted = [(Kind.EMAIL, "email/gmail-folded"), (Kind.EMAIL, "email/plain")]

    def write(frame: pl.DataFrame) -> list[bytes]:
        found = write_forms(frame, wanted, default_country=None)
        return [found[key].tobytes() for key in wanted]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(write, frames)) == [write(frame) for frame in frames]
