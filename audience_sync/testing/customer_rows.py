"""Rows of made-up customers in columns: as messy as a Nordic retailer's, and nobody's.

E-mail addresses use domains reserved for examples, or Gmail with `.example` in the local part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from audience_sync.testing.customer_contacts import devices, emails, phones

COUNTRIES: Mapping[str, float] = {
    "SE": 0.45,
    "NO": 0.15,
    "DK": 0.12,
    "FI": 0.10,
    "DE": 0.12,
    "GB": 0.06,
}
SECOND_ACCOUNTS = 0.08  # share of rows whose person has another account too
SHARED_PHONES = 0.04  # share of rows with the phone of somebody else in the household

_CONSENT: Mapping[str | None, float] = {
    "granted": 0.61,
    "Granted ": 0.02,
    "denied": 0.12,
    "withdrawn": 0.06,
    "objected": 0.02,
    "unknown": 0.05,
    None: 0.10,
    "kanske": 0.01,
    "see paper form": 0.01,
}
_STATUS: Mapping[str | None, float] = {"active": 0.90, "Active": 0.03, "closed": 0.07}
_ORIGINS: Mapping[str | None, float] = {
    "account": 0.33,
    "purchase": 0.31,
    "membership": 0.20,
    "newsletter": 0.08,
    "customer_service": 0.04,
    "partner_list": 0.04,
}
_DAY = 86_400  # seconds
_YEAR = 365.25 * _DAY

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def customer_rows(ids: Integers, seed: Sequence[int], as_of: datetime) -> pl.DataFrame:
    """One row per id; the same ids, seed and day give the same rows.

    The contacts of a row belong to its person, its consent to the row: two accounts of one
    person may say different things.
    """
    chance = np.random.default_rng(seed)
    count = len(ids)
    own = np.arange(count)
    person = np.where(chance.random(count) < SECOND_ACCOUNTS, chance.integers(0, count, count), own)
    household = np.where(chance.random(count) < SHARED_PHONES, person ^ 1, person) % count
    country = chance.choice(len(COUNTRIES), count, p=list(COUNTRIES.values()))[person]
    market = pl.Series(list(COUNTRIES)).gather(country)
    ios, android = devices(chance, count)
    return pl.DataFrame(
        {
            "id": ids,
            "email": emails(chance, ids[person]),
            "phone_number": phones(chance, ids[household], country[household]),
            "ios_ad_id": ios,
            "android_ad_id": android,
            "country": _messy_country(chance, market),
            "market": market,
            "ads_consent": _pick(chance, count, _CONSENT),
            "ads_consent_at": _past(chance, as_of, chance.random(count) * 4 * _YEAR, 0.06),
            "status": _pick(chance, count, _STATUS),
            "last_purchase_at": _past(chance, as_of, chance.exponential(0.9 * _YEAR, count), 0.05),
            "birth_date": _birth_dates(chance, as_of, count),
            "collected_through": _pick(chance, count, _ORIGINS),
            "lifetime_value": np.round(chance.lognormal(7.2, 1.2, count), 2),
        }
    )


def _pick(chance: np.random.Generator, count: int, shares: Mapping[str | None, float]) -> pl.Series:
    return pl.Series(list(shares), dtype=pl.String).gather(
        chance.choice(len(shares), count, p=list(shares.values()))
    )


def _without(chance: np.random.Generator, values: pl.Series, share: float) -> pl.Series:
    """The values, with null instead of a share of them."""
    kept = pl.Series(chance.random(len(values)) >= share)
    return pl.select(pl.when(kept).then(values)).to_series()


def _messy_country(chance: np.random.Generator, market: pl.Series) -> pl.Series:
    lower = pl.Series(chance.random(len(market)) < 0.01)  # noqa: PLR2004 - a share
    written = pl.select(pl.when(lower).then(market.str.to_lowercase()).otherwise(market))
    return _without(chance, written.to_series(), 0.02)


def _past(
    chance: np.random.Generator, as_of: datetime, seconds_ago: Floats, missing: float
) -> pl.Series:
    """Times before `as_of`; a few, from a wrong clock, are after it."""
    ahead = chance.random(len(seconds_ago)) < 0.001  # noqa: PLR2004 - a share
    seconds = np.where(ahead, -40.0 * _DAY, np.minimum(seconds_ago, 15 * _YEAR))
    moments = (as_of.timestamp() - seconds).astype(np.int64)
    times = pl.Series(moments * 1_000_000).cast(pl.Datetime("us"))
    return _without(chance, times, missing)


def _birth_dates(chance: np.random.Generator, as_of: datetime, count: int) -> pl.Series:
    """Mostly grown-ups; some minors, some unknown, some with a placeholder."""
    draw = chance.random(count)
    age = np.where(draw < 0.03, chance.uniform(12, 18, count), chance.normal(44, 14, count))  # noqa: PLR2004 - a share
    born = as_of.timestamp() - np.clip(age, 12, 99) * _YEAR
    placeholder = datetime(1900, 1, 1, tzinfo=UTC).timestamp()
    days = np.where(draw > 0.995, placeholder, born) // _DAY  # noqa: PLR2004 - a share
    return _without(chance, pl.Series(days.astype(np.int32)).cast(pl.Date), 0.05)
