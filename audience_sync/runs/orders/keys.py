"""Keyed references: of a customer for one partner alone, and of what was reported for ourselves.

Each purpose and each destination has a key of its own, derived from the fingerprint key, so that
no two partners can bring a customer together, and neither can whoever reads the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import polars as pl
import polars_hash as plh
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_LENGTH = 32  # bytes


@dataclass(frozen=True, slots=True)
class OrderKeys:
    """The keys of one destination, in hex as the columnar HMAC takes them."""

    _customer: str = field(repr=False)
    _order: str = field(repr=False)

    @classmethod
    def derive(cls, fingerprint_key: bytes, destination: str) -> Self:
        """The keys that belong to a destination's name."""
        return cls(
            _derived(fingerprint_key, "customer reference", destination),
            _derived(fingerprint_key, "reported order", destination),
        )

    def references(self, customers: pl.Series) -> pl.Series:
        """HMAC-SHA256, in hex, of customers' own ids; none of none."""
        return _hmac(customers, self._customer)

    def fingerprints(self, frame: pl.DataFrame, *columns: str) -> pl.Series:
        """HMAC-SHA256, in hex, of columns together; no two different rows read the same."""
        parts: list[pl.Expr] = []
        for column in columns:
            value = pl.col(column).cast(pl.String).fill_null("")
            parts += [value.str.len_bytes().cast(pl.String), value]
        joined = frame.select(pl.concat_str(parts, separator=":")).to_series()
        return _hmac(joined, self._order)


def _hmac(values: pl.Series, key: str) -> pl.Series:
    keyed = plh.col("value").chash.hmac_sha256(key=key)
    return values.to_frame("value").select(keyed).to_series()


def _derived(key: bytes, purpose: str, destination: str) -> str:
    info = f"audience-sync orders 1: {purpose}: {destination}".encode()
    return HKDF(SHA256(), _LENGTH, None, info).derive(key).hex()
