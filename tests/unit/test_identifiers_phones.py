"""Phones: whatever people type, the answer is the `phonenumbers` library's."""

from __future__ import annotations

import random

import phonenumbers
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers.phonemetadata import PhoneMetadata

from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.phones import settle, to_e164

EUROPE = [
    region
    for line in (
        "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE",
        "LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM TR UA VA XK",
    )
    for region in line.split()
]
ELSEWHERE = ["US", "CA", "KZ", "AU", "BR", "MX", "AR", "CI"]
TYPES = [t for t in phonenumbers.PhoneNumberType.values() if t != 99]


def reference(value: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def examples(region: str) -> list[tuple[str, str]]:
    """Calling code and national number of the library's example of each type."""
    found = [phonenumbers.example_number_for_type(region, kind) for kind in TYPES]
    return sorted(
        {(str(n.country_code), phonenumbers.national_significant_number(n)) for n in found if n}
    )


def spellings(region: str, code: str, number: str) -> list[str]:
    """One number in the ways in which people write it."""
    trunk = PhoneMetadata.metadata_for_region(region).national_prefix or ""
    half = f"{number[:2]}-{number[2:5]} {number[5:]}"
    return [
        *(f"{trunk}{body}" for body in (number, half)),
        *(f"+{code}{gap}{number}" for gap in ("", " ", " (0)", f"({trunk})")),
        *(f"00{code}{gap}{half}" for gap in ("", " ", "(0)")),
        f"({trunk}{number[:2]}) {number[2:]}",
        f"{trunk}{number[:3]}/{number[3:5]}.{number[5:]}",
        f"[{trunk}{number[:2]}] {number[2:]}",
        f" {trunk}\u00a0{number}\u00a0",
        f"(+{code}) {number}",
        f"++{code}{number}",
        f"+0{number}",
        f"000{number}",
        f"{code}{number}",
        f"{code}{trunk}{number}",
        number,
        number[:-1],
        f"{trunk}{number}0",
        f"{trunk}{number} ext. 12",
        f"{trunk}{number} x3",
        f"{trunk}{number} (hem)",
        f"tel: {trunk}{number}",
        f"tel:+{code}-{number};ext=4",
        f"{trunk}{number} / x{number}",
        f"{trunk}{number[:-3]}ABC",
        f"\uff0b{code}{number}",
        f"{trunk}{number}#",
        f"*{trunk}{number}",
    ]


def agree(values: list[str], regions: list[str]) -> None:
    """In columns and, as one row of each, by way of the library."""
    found = settle(pl.Series(values), pl.Series(regions), None, few=0)

    expected = [reference(value, region) for value, region in zip(values, regions, strict=True)]
    assert found.numbers.to_list() == expected


@pytest.mark.parametrize("region", [*EUROPE, *ELSEWHERE])
def test_every_example_number_in_every_spelling(region: str) -> None:
    """Examples of all types, in all spellings, dialled in their own country."""
    values = [s for code, number in examples(region) for s in spellings(region, code, number)]

    agree(values, [region] * len(values))


def test_numbers_dialled_in_another_country() -> None:
    """The row's country decides how a number without a calling code is read."""
    seeded = random.Random(1)  # noqa: S311 - made-up numbers
    values, regions = [], []
    for home in EUROPE:
        for code, number in examples(home):
            values += spellings(home, code, number)
    regions = [seeded.choice(EUROPE) for _ in values]

    agree(values, regions)


_digits = st.text("0123456789", min_size=1, max_size=15)
_typed = st.tuples(
    st.sampled_from(["", "0", "+", "00", "(0)", "8", "06", "+46", "0049", "44", "+358 (0)", "+7"]),
    _digits,
    st.sampled_from(["", " ", "-", ".", "/", ") "]),
    _digits,
).map("".join)


@given(st.lists(st.tuples(_typed, st.sampled_from(EUROPE)), min_size=1, max_size=40))
def test_any_digits_in_any_country(rows: list[tuple[str, str]]) -> None:
    """Digits that nobody was given are judged as the library judges them."""
    agree([value for value, _ in rows], [region for _, region in rows])


@given(st.lists(st.text("0123456789+ ()-./[]xX#;,*eabc=~\x00:&", max_size=20), min_size=1))
def test_any_characters(values: list[str]) -> None:
    """Nothing that can be typed breaks a column or makes it disagree."""
    agree(values, ["SE"] * len(values))


def test_white_space_of_any_script_is_a_space() -> None:
    """The library refuses a thin space or a tab; people paste them."""
    values = ["06\u202f12\u202f34\u202f56\u202f78", "\ufeff0612345678\t", "06\u200912345678"]

    assert to_e164(pl.Series(values), None, "FR").to_list() == ["+33612345678"] * 3


@pytest.mark.parametrize("country", ["SE", "se", " Se ", "XX", "", None, "Sweden"])
def test_country_of_any_case_else_the_default(country: str | None) -> None:
    """A country that is missing or unknown gives way to the default country."""
    countries = pl.Series([country], dtype=pl.String)

    assert to_e164(pl.Series(["070-123 45 67"]), countries, "SE").to_list() == ["+46701234567"]


def test_uk_is_read_as_gb() -> None:
    """People write UK although ISO 3166 says GB."""
    numbers = to_e164(pl.Series(["07911 123456"]), pl.Series(["uk"]), None)

    assert numbers.to_list() == ["+447911123456"]


def test_without_any_country_only_international_numbers_count() -> None:
    """A national number that could be anyone's is none."""
    values = pl.Series(["070-123 45 67", "+46 70 123 45 67", "0046701234567", None])

    assert to_e164(values, None, None).to_list() == [None, "+46701234567", None, None]


def test_a_default_country_that_is_none_is_refused() -> None:
    """The error says what a country looks like."""
    with pytest.raises(ConfigurationError, match="default_country is no ISO 3166"):
        to_e164(pl.Series(["1"]), None, "Sweden")


def test_the_library_is_asked_once_for_each_distinct_value() -> None:
    """Rows that only the library can read are counted, and asked about once."""
    values = ["0701234567 ext 1"] * 100 + ["0701234567"] * 100
    found = settle(pl.Series(values), None, "SE")

    assert (found.open_rows, found.asked) == (100, 1)
    assert found.numbers.to_list() == ["+46701234567"] * 200


@pytest.mark.parametrize("values", [[], [None], [None, None], [""], ["saknas", "-", "n/a"]])
def test_columns_without_a_number(values: list[str | None]) -> None:
    """Nothing in, nothing out, and the library is not asked."""
    found = settle(pl.Series(values, dtype=pl.String), None, "SE")

    assert found.numbers.to_list() == [None] * len(values)
    assert found.asked == 0
