"""What a column of identifiers looks like, so that nothing is hashed twice or sent unhashed."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.digests import HASHES_OF_NOTHING, SHA256_BASE64, SHA256_HEX
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.texts import trimmed

# A stray value or two is dropped where it stands; more than this share is a column that somebody
# mapped or declared wrongly, and the run stops.
TOLERATED = 0.03

_MD5_HEX = r"^[0-9a-fA-F]{32}$"
_BASE64_OF_NOTHING = frozenset(
    pl.Series(sorted(HASHES_OF_NOTHING)).str.decode("hex").bin.encode("base64").to_list()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """Counts over a column: never a value. Profiles of batches add up."""

    values: int  # neither null nor blank; the shares are of these
    sha256_hex: int
    sha256_base64: int
    md5_hex: int
    of_nothing: int  # SHA-256 of "", "null" and the like; counted above too, and never used

    def __add__(self, other: ColumnProfile) -> ColumnProfile:
        return ColumnProfile(
            values=self.values + other.values,
            sha256_hex=self.sha256_hex + other.sha256_hex,
            sha256_base64=self.sha256_base64 + other.sha256_base64,
            md5_hex=self.md5_hex + other.md5_hex,
            of_nothing=self.of_nothing + other.of_nothing,
        )

    @property
    def sha256(self) -> float:
        """The share that looks like SHA-256, in hex or base64."""
        return self._share(self.sha256_hex + self.sha256_base64)

    @property
    def other(self) -> float:
        """The share that looks like no SHA-256."""
        return self._share(self.values - self.sha256_hex - self.sha256_base64)

    @property
    def md5(self) -> float:
        """The share that looks like MD5."""
        return self._share(self.md5_hex)

    @property
    def nothing(self) -> float:
        """The share that is a hash of nothing."""
        return self._share(self.of_nothing)

    def _share(self, count: int) -> float:
        return count / self.values if self.values else 0.0


def profile(values: pl.Series) -> ColumnProfile:
    """Count what the values look like."""
    texts = trimmed(values.cast(pl.String, strict=False))
    text = pl.col("text")
    counts = (
        texts.alias("text")
        .to_frame()
        .select(
            values=(text.str.len_bytes() > 0).sum(),
            sha256_hex=text.str.contains(SHA256_HEX).sum(),
            sha256_base64=text.str.contains(SHA256_BASE64).sum(),
            md5_hex=text.str.contains(_MD5_HEX).sum(),
            of_nothing=(
                text.str.to_lowercase().is_in(sorted(HASHES_OF_NOTHING))
                | text.is_in(sorted(_BASE64_OF_NOTHING))
            ).sum(),
        )
    )
    return ColumnProfile(**counts.row(0, named=True))


def refuse_mismatch(kind: Kind, found: ColumnProfile, hashed_form: str | None) -> None:
    """Raise a ConfigurationError when a raw column looks hashed, or a hashed one does not.

    `hashed_form` is the form that the source declares the column hashed by; None for raw.
    """
    if not found.values:
        return
    if hashed_form is None:
        _refuse_hashed(kind, found)
    else:
        _refuse_raw(kind, found, hashed_form)


def _refuse_hashed(kind: Kind, found: ColumnProfile) -> None:
    if found.sha256 > TOLERATED:
        raise ConfigurationError(
            f"{found.sha256:.0%} of the {kind.value} column looks like SHA-256 already, which would"
            f" be hashed twice; declare the form it was made by under source.hashed.{kind.value},"
            f" or map the raw column in source.columns.{kind.value}"
        )
    # An external id may well be a UUID without hyphens, which looks the same as an MD5.
    if kind is not Kind.EXTERNAL_ID and found.md5 > TOLERATED:
        raise ConfigurationError(
            f"{found.md5:.0%} of the {kind.value} column looks like MD5, which no partner takes;"
            f" map the raw column in source.columns.{kind.value}"
        )


def _refuse_raw(kind: Kind, found: ColumnProfile, hashed_form: str) -> None:
    if found.md5 > TOLERATED:
        raise ConfigurationError(
            f"source.hashed.{kind.value} says {hashed_form}, but {found.md5:.0%} of the column"
            " looks like MD5, which no partner takes; map the raw column or SHA-256 hashes"
        )
    if found.other > TOLERATED:
        raise ConfigurationError(
            f"source.hashed.{kind.value} says {hashed_form}, but {found.other:.0%} of the"
            f" column does not look like SHA-256; remove source.hashed.{kind.value} if the column"
            " is raw, or hash all of it"
        )
