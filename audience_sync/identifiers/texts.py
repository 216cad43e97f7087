"""How e-mails, device IDs and external ids are written before they are hashed, in columns.

Each rule takes a String column and answers one of the same length in which null means "none".
The rules in words are in forms.json.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

MAXIMUM_BYTES = 320  # the longest e-mail address there can be; longer values are never identifiers
NO_DEVICE = "00000000-0000-0000-0000-000000000000"  # what a phone answers when tracking is refused
NOTHING = ("null", "none", "nil", "nan", "n/a", "undefined", "unknown", "\\n", "-")  # lower case

# What copying leaves around a value: white space of any script (as Python's str.strip sees it),
# zero-width characters, direction marks and the byte-order mark.
WHITE_SPACE = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
INVISIBLE = "\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"

# The regular expressions' \s lacks U+001C to U+001F, which Python calls white space.
_CHARACTER = r"[^@\s\x00\x1c-\x1f]"
_EDGE = r"[^@\s\x00\x1c-\x1f\x{180e}\x{200b}-\x{200f}\x{2060}\x{feff}]"
_EMAIL = rf"^{_CHARACTER}+@{_CHARACTER}+$"
_TRIMMED_EMAIL = rf"^{_EDGE}{_CHARACTER}*@{_CHARACTER}*{_EDGE}$"
_GMAIL = "@gmail.com"
_GOOGLEMAIL = "@googlemail.com"
_DEVICE = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
LIKE_SHA256 = r"^(?:[0-9a-fA-F]{64}|[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)$"


class Folded(NamedTuple):
    """The positions of the Gmail addresses that change, and what these become."""

    rows: pl.Series
    emails: pl.Series


def trimmed(values: pl.Series) -> pl.Series:
    """Values without white space and invisible characters at both ends; case is kept."""
    return values.str.strip_chars(WHITE_SPACE + INVISIBLE)


def plain_emails(values: pl.Series) -> pl.Series:
    """Trimmed and in lower case; needs exactly one @, two sides and no white space within."""
    quick = values.str.strip_chars().str.to_lowercase()
    sure = _short(quick) & quick.str.contains(_TRIMMED_EMAIL)
    kept = _only(quick, sure)
    # Only what the quick trim does not settle pays for the thorough one.
    rest = (~sure).fill_null(value=False).arg_true()
    if not len(rest):
        return kept
    again = trimmed(values.gather(rest)).str.to_lowercase()
    return kept.scatter(rest, _only(again, _short(again) & again.str.contains(_EMAIL)))


def fold_gmail(emails: pl.Series) -> Folded:
    """Plain e-mails at Google's two domains without dots and +tag in the local part."""
    theirs = emails.str.ends_with(_GMAIL) | emails.str.ends_with(_GOOGLEMAIL)
    rows = theirs.fill_null(value=False).arg_true()
    before = emails.gather(rows)
    local = before.str.strip_suffix(_GMAIL).str.strip_suffix(_GOOGLEMAIL)
    # Without regular expressions: at a shop where half the addresses are Google's, this counts.
    local = local.str.splitn("+", 2).struct.field("field_0").str.replace_all(".", "", literal=True)
    written = pl.select(
        pl.when(local.str.len_bytes() > 0).then(
            pl.concat_str(
                pl.lit(local),
                pl.when(before.str.ends_with(_GMAIL))
                .then(pl.lit(_GMAIL))
                .otherwise(pl.lit(_GOOGLEMAIL)),
            )
        )
    ).to_series()
    changed = written.ne_missing(before)
    return Folded(rows.filter(changed), written.filter(changed))


def canonical_devices(values: pl.Series) -> pl.Series:
    """Device IDs as lower-case UUID text with hyphens; the all-zero one is none.

    A UUID without hyphens is none too: it cannot be told from an MD5 hash.
    """
    written = trimmed(values).str.to_lowercase()
    return _only(written, written.str.contains(_DEVICE) & (written != NO_DEVICE))


def plain_external_ids(values: pl.Series) -> pl.Series:
    """Trimmed, case kept; words for nothing, NUL bytes and what looks hashed are none."""
    written = trimmed(values)
    refused = written.str.to_lowercase().is_in(NOTHING)
    refused |= written.str.contains("\x00", literal=True) | written.str.contains(LIKE_SHA256)
    return _only(written, _short(written) & ~refused & (written.str.len_bytes() > 0))


def _short(values: pl.Series) -> pl.Series:
    return values.str.len_bytes() <= MAXIMUM_BYTES


def _only(values: pl.Series, wanted: pl.Series) -> pl.Series:
    return pl.select(pl.when(wanted).then(values)).to_series()
