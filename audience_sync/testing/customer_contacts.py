"""How made-up customers write their e-mail addresses, phone numbers and device IDs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Integers = NDArray[np.int64]

UNUSABLE_EMAILS = 0.035  # share of the addresses that nobody can send to


def _words(text: str) -> list[str]:
    return text.split()


_FIRST = _words(
    "anna emma maja ella alice karin lars erik johan nils sven ole kari ingrid astrid bjorn "
    "mette soren jens freja aino mikko juhani helmi hanna lukas jonas lena greta oliver harry "
    "amelia sofia matti kirsten stein"
)
_LAST = _words(
    "lindstrom andersson johansson karlsson nilsson hansen olsen larsen berg haugen jensen nielsen "
    "sorensen moller virtanen korhonen nieminen muller schmidt schneider fischer weber smith jones "
    "taylor brown ostberg akesson angstrom bjork"
)
_NORDIC = {"lindstrom": "lindström", "angstrom": "ångström", "bjork": "björk", "moller": "møller"}
_DOMAINS = (
    "example.com",
    "mail.example.com",
    "post.example.net",
    "epost.example.org",
    "kund.example.net",
    "firma.example.org",
    "gmail.com",
    "gmail.com",
    "gmail.com",
    "googlemail.com",
)
_GMAIL = 6  # position of the first of Google's domains
_NOT_ADDRESSES = (
    "",
    "-",
    "n/a",
    "saknas",
    "okänd@",
    "@example.com",
    "no-at-sign.example.com",
    "two@at@example.com",
    "with space@exam ple.com",
    "anna@localhost",
    "anna..berg@example.com",
    "anna@example..com",
)
_SEPARATORS = (".", "_", "", "-")

# Per country (as in COUNTRIES): calling code, trunk prefix, mobile prefix, digits that follow.
_PLANS = (
    ("46", "0", "70", 7),
    ("47", "", "9", 7),
    ("45", "", "2", 7),
    ("358", "0", "40", 7),
    ("49", "0", "151", 8),
    ("44", "0", "74", 8),
)
_NOT_PHONES = ("", "-", "0", "123", "okänt", "ring inte", "0000000000")
_NOBODY = "00000000-0000-0000-0000-000000000000"  # what a phone gives when tracking is refused


def emails(chance: np.random.Generator, people: Integers) -> pl.Series:
    """An address per person (the same number, the same mailbox), written in many ways."""
    count = len(people)
    mailbox = np.abs(people * 2_654_435_761) % 2**31  # one person's draw, whatever the row
    domain = (mailbox // 7) % len(_DOMAINS)
    last = pl.Series(_LAST).gather((mailbox // 1009) % len(_LAST))
    draw, style = chance.random(count), chance.random(count)
    frame = pl.DataFrame(
        {
            "first": pl.Series(_FIRST).gather((mailbox // 131) % len(_FIRST)),
            "separator": pl.Series(_SEPARATORS).gather((mailbox // 3) % len(_SEPARATORS)),
            "last": last,
            "nordic": last.replace(_NORDIC),
            "number": people.astype(np.int64),
            "domain": pl.Series(_DOMAINS).gather(domain),
            "gmail": domain >= _GMAIL,
            "draw": draw,
            "style": style,
            "none": _any_of(chance, _NOT_ADDRESSES, count),
        }
    )
    return frame.select(_written_email().alias("email")).to_series()


def _written_email() -> pl.Expr:
    draw, style, gmail = pl.col("draw"), pl.col("style"), pl.col("gmail")
    mark = pl.when(gmail).then(pl.lit(".example")).otherwise(pl.lit(""))
    last = pl.when(style > 0.997).then(pl.col("nordic")).otherwise(pl.col("last"))  # noqa: PLR2004 - a share
    local = pl.concat_str(pl.col("first"), pl.col("separator"), last, mark, pl.col("number"))
    dotted = pl.concat_str(local.str.head(2), pl.lit("."), local.str.slice(2))
    tagged = pl.concat_str(local, pl.lit("+butik"))
    name = (
        pl.when(gmail & (style < 0.10))  # noqa: PLR2004 - a share
        .then(dotted)
        .when(gmail & (style < 0.15))  # noqa: PLR2004 - a share
        .then(tagged)
        .otherwise(local)
    )
    address = pl.concat_str(name, pl.lit("@"), pl.col("domain"))
    ways = (
        (UNUSABLE_EMAILS, pl.col("none")),
        (0.08, pl.lit(None, pl.String)),
        (0.14, pl.concat_str(address.str.head(1).str.to_uppercase(), address.str.slice(1))),
        (0.18, address.str.to_uppercase()),
        (0.21, pl.concat_str(address, pl.lit(" "))),
        (0.23, pl.concat_str(pl.lit("  "), address)),
        (0.24, pl.concat_str(address, pl.lit("\u00a0"))),
        (0.245, pl.concat_str(pl.lit("\u200b"), address, pl.lit("\t"))),
    )
    return _one_of(draw, ways, address)


def phones(chance: np.random.Generator, people: Integers, country: Integers) -> pl.Series:
    """A mobile number per person, as people type it."""
    count = len(people)
    code, trunk, prefix, length = (
        pl.Series([plan[part] for plan in _PLANS]).gather(country) for part in range(4)
    )
    digits = (np.abs(people * 40_503 + 12_345_678) % 10**8).astype(np.int64)
    lengths = length.to_numpy()
    tail = pl.Series(digits % 10**lengths).cast(pl.String)
    frame = pl.DataFrame(
        {
            "code": code,
            "trunk": trunk,
            "prefix": prefix,
            "tail": pl.select(tail.str.zfill(length)).to_series(),
            "draw": chance.random(count),
            "none": _any_of(chance, _NOT_PHONES, count),
        }
    )
    return frame.select(_written_phone().alias("phone")).to_series()


def _written_phone() -> pl.Expr:
    code, trunk, prefix, tail = (pl.col(name) for name in ("code", "trunk", "prefix", "tail"))
    parts = (tail.str.head(3), tail.str.slice(3, 2), tail.str.slice(5))

    def spaced(gap: str) -> pl.Expr:
        return pl.concat_str(parts[0], pl.lit(gap), parts[1], pl.lit(gap), parts[2])

    def written(*texts: str | pl.Expr) -> pl.Expr:
        return pl.concat_str(*(pl.lit(t) if isinstance(t, str) else t for t in texts))

    optional_zero = pl.when(trunk == "0").then(pl.lit("(0)")).otherwise(pl.lit(""))
    ways = (
        (0.02, pl.col("none")),
        (0.14, pl.lit(None, pl.String)),
        (0.40, written(trunk, prefix, "-", spaced(" "))),
        (0.52, written(trunk, prefix, tail)),
        (0.60, written("00", code, " ", prefix, " ", spaced(" "))),
        (0.68, written("+", code, " ", optional_zero, prefix, " ", spaced(" "))),
        (0.73, written(trunk, prefix, ".", spaced("."))),
        (0.76, written("+", code, "\u00a0", prefix, "\u00a0", spaced("\u00a0"))),
        (0.78, written("Mobil: ", trunk, prefix, "-", tail)),
        (0.79, written(" ", trunk, prefix, "/", spaced(" "), " ")),
    )
    return _one_of(pl.col("draw"), ways, written("+", code, prefix, tail))


def devices(chance: np.random.Generator, count: int) -> tuple[pl.Series, pl.Series]:
    """Advertising identifiers of iPhones and Android phones; most people have one, or none."""
    draw = pl.Series(chance.random(count))
    raw = pl.Series([chance.bytes(16 * count)], dtype=pl.Binary).bin.encode("hex")
    whole = np.frombuffer(raw[0].encode(), dtype="S32").astype("U32")
    hexadecimal = pl.DataFrame({"device": whole}).select(_dashed(pl.col("device"))).to_series()
    style = pl.Series(chance.random(count))
    ios = _one_of(
        draw,
        (
            (0.02, pl.lit(_NOBODY)),
            (0.26, pl.lit(hexadecimal).str.to_uppercase()),
            (0.30, pl.lit(hexadecimal)),
        ),
        pl.lit(None, pl.String),
    )
    android = _one_of(
        draw,
        ((0.28, pl.lit(None, pl.String)), (0.68, pl.lit(hexadecimal))),
        pl.lit(None, pl.String),
    )
    bare = pl.when(style < 0.02).then(android.str.replace_all("-", "", literal=True))  # noqa: PLR2004 - a share
    chosen = pl.select(ios=ios, android=bare.otherwise(android))
    return chosen["ios"], chosen["android"]


def _dashed(text: pl.Expr) -> pl.Expr:
    parts = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
    return pl.concat_str(*(text.str.slice(*part) for part in parts), separator="-")


def _any_of(chance: np.random.Generator, values: Sequence[str], count: int) -> pl.Series:
    return pl.Series(values).gather(chance.integers(0, len(values), count))


def _one_of(
    draw: pl.Expr | pl.Series, ways: Sequence[tuple[float, pl.Expr]], otherwise: pl.Expr
) -> pl.Expr:
    """The first way whose bound (cumulative) is above the draw."""
    drawn = pl.lit(draw) if isinstance(draw, pl.Series) else draw
    chosen = otherwise
    for bound, way in reversed(ways):
        chosen = pl.when(drawn < bound).then(way).otherwise(chosen)
    return chosen
