"""E-mails: the same hash as Google's own library for everything that it accepts."""

from __future__ import annotations

import hashlib
import sys
import unicodedata
from functools import cache
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.texts import (
    INVISIBLE,
    MAXIMUM_BYTES,
    WHITE_SPACE,
    fold_gmail,
    plain_emails,
)
from audience_sync.identifiers.writing import write_forms

FOLDED = (Kind.EMAIL, "email/gmail-folded")
PLAIN = (Kind.EMAIL, "email/plain")

_parts = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("abcXYZ..++  İẞΣσÅ\u00a0\u200b\ufeff\x1c\x00@"),
    ),
    max_size=12,
)
_domains = st.one_of(
    _parts,
    st.sampled_from(["gmail.com", "GMail.com", "googlemail.com", "gmail.company.de", "x.se"]),
)
_edges = st.text(st.sampled_from(WHITE_SPACE + INVISIBLE), max_size=3)
_emails = st.one_of(
    st.builds(lambda a, b, c, d: f"{a}{b}@{c}{d}", _edges, _parts, _domains, _edges), _parts
)


@cache
def googles() -> Any:
    """Google's formatter; loading it would be a tenth of collecting all tests, in each process."""
    from google.ads.datamanager_util.format import Formatter  # noqa: PLC0415 - see above

    return Formatter()


def reference(value: str) -> bytes:
    """Google's hash, or zeros; with the differences that docs/identifiers.md names."""
    value = value.strip(WHITE_SPACE + INVISIBLE)
    try:
        written = googles().format_email_address(value)
    except ValueError:
        return bytes(32)
    if "\x00" in written or len(value.lower().encode()) > MAXIMUM_BYTES:
        return bytes(32)
    return hashlib.sha256(written.encode()).digest()


def known_to_python(value: str) -> bool:
    """Whether this Python's Unicode has all the characters; polars may know newer letters."""
    return all(unicodedata.category(character) != "Cn" for character in value)


def written(values: list[str | None], *wanted: tuple[Kind, str]) -> list[list[bytes]]:
    frame = pl.DataFrame({"email": values}, schema={"email": pl.String})
    forms = write_forms(frame, wanted, default_country=None)
    return [[row.tobytes() for row in forms[want]] for want in wanted]


@given(st.lists(_emails.filter(known_to_python), min_size=1, max_size=20))
def test_google_form_equals_googles_own_library(values: list[str]) -> None:
    """Accepted values give the same hash; refused ones are none."""
    assert written(values, FOLDED)[0] == [reference(value) for value in values]


@given(st.lists(_emails, min_size=1, max_size=20))
def test_both_forms_at_once_equal_each_alone(values: list[str]) -> None:
    """Sharing work between forms changes nothing."""
    assert written(values, FOLDED, PLAIN) == written(values, FOLDED) + written(values, PLAIN)


@given(st.lists(_emails, max_size=20))
def test_writing_a_written_email_changes_nothing(values: list[str]) -> None:
    """The plain form of a plain form is itself."""
    once = plain_emails(pl.Series(values, dtype=pl.String))

    assert plain_emails(once).to_list() == once.to_list()


def test_lower_case_of_every_letter_is_pythons() -> None:
    """All characters that this Python knows have the same lower case here."""
    letters = [
        f"a{chr(code)}b@x.se"
        for code in range(1, sys.maxunicode)
        if not 0xD800 <= code < 0xE000 and unicodedata.category(chr(code)) not in {"Cn", "Zs", "Co"}
    ]
    usable = [v for v in letters if v.count("@") == 1 and not any(c.isspace() for c in v)]

    assert plain_emails(pl.Series(usable)).to_list() == [v.lower() for v in usable]


def test_white_space_is_all_that_python_calls_white_space() -> None:
    """The list of white space in the rule is complete."""
    assert {chr(c) for c in range(sys.maxunicode) if chr(c).isspace()} == set(WHITE_SPACE)


def test_a_value_of_a_megabyte_is_none() -> None:
    """A long text is dropped, not hashed and not an error."""
    assert written(["a" * 1_000_000 + "@x.se", " " * 1_000_000 + "a@x.se"], PLAIN)[0] == [
        bytes(32),
        hashlib.sha256(b"a@x.se").digest(),
    ]


def test_folding_touches_only_the_two_gmail_domains() -> None:
    """Other domains, and domains that merely start alike, keep their dots and tags."""
    emails = pl.Series(["a.b+c@gmail.com", "a.b+c@gmail.company.de", "ab@gmail.com", None])
    folded = fold_gmail(emails)

    assert folded.rows.to_list() == [0]
    assert folded.emails.to_list() == ["ab@gmail.com"]
