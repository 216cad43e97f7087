"""Which codes are countries: what ISO 3166 has, and where phone numbers are known."""

from __future__ import annotations

import phonenumbers
import pytest

from audience_sync.identifiers.countries import ALIASES, COUNTRIES, WITH_PHONES, has_phones

# ISO 3166-1 alpha-2, officially assigned (checked 2026-11).
_ISO = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH
ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT
HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS
LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI
NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG
SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG
UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
ISO = set(_ISO.split())


def test_no_country_of_iso_is_refused() -> None:
    """None of the 249 is forgotten, whether it has phone numbers of its own or not."""
    assert len(ISO) == 249
    assert ISO <= COUNTRIES
    assert {"AC", "TA", "XK"} == COUNTRIES - ISO  # which have phone numbers
    assert not COUNTRIES & ALIASES.keys()


def test_phones_are_known_where_the_library_knows_them() -> None:
    """The project file is read without loading the library, so this holds the two together."""
    assert WITH_PHONES == phonenumbers.SUPPORTED_REGIONS
    assert all(ALIASES[alias] in WITH_PHONES for alias in ALIASES)


@pytest.mark.parametrize("code", ["SE", "se", " Se ", "UK", "XK"])
def test_a_country_is_known_as_people_write_it(code: str) -> None:
    """As the column `country` of customers takes it."""
    assert has_phones(code)


@pytest.mark.parametrize("code", ["XX", "ZZ", "EU", "AQ", "", "Sweden", "SWE"])
def test_what_has_no_phones_is_no_country_of_a_phone(code: str) -> None:
    """Antarctica neither, though it is a country of ISO 3166."""
    assert not has_phones(code)
