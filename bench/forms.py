"""Normalise and hash identifiers: ours beside what people use instead, in one run, on one core.

`python -m bench.forms --rows 1000000 --json forms.json` writes messy e-mails and phones into
Parquet files, times every contestant from the file to (id, hash) in memory in interleaved rounds
(medians), checks every value against the reference implementation, and prints rows per second and
ratios.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import phonenumbers
import polars as pl
import pyarrow.parquet as pq
from facebook_business.adobjects.customaudience import CustomAudience
from google.ads.datamanager_util.format import Encoding, Formatter

from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.phones import settle
from audience_sync.identifiers.writing import write_forms

BATCH = 100_000  # rows; what the product writes at once
ROUNDS = 3
PHONE_SHARE = 5  # one phone for so many e-mails: its reference is slow

Written = list[str | None]  # hex, None for none

_NAMES = ["anna.lindqvist", "johan.m", "eriksvensson", "maria-louise", "k.m.nielsen", "jürgen"]
_DOMAINS = ["gmail.com", "googlemail.com", "hotmail.com", "post.example.se", "firma.example.de"]
_USELESS = [None, "", "  ", "null", "not known", "anna@", "@example.se", "a@b@example.se"]


def messy_email(seeded: random.Random) -> str | None:
    """One of the e-mails that shops hold: a quarter with capitals, a tenth padded, 41 % Gmail."""
    if seeded.random() < 0.035:
        return seeded.choice(_USELESS)
    names = _NAMES if seeded.random() < 0.01 else _NAMES[:-1]
    email = f"{seeded.choice(names)}{seeded.randrange(10**7)}"
    if seeded.random() < 0.08:
        email += "+shop"
    email += "@" + seeded.choices(_DOMAINS, [40, 1, 29, 20, 10])[0]
    if seeded.random() < 0.25:
        email = email.title()
    if seeded.random() < 0.1:
        email = seeded.choice([f" {email}", f"{email}  ", f"{email}\r\n", f"\t{email}"])
    return email


_COUNTRIES = {  # calling code, trunk prefix, first digits of mobile numbers, digits that follow
    "SE": ("46", "0", ["70", "72", "73", "76", "79"], 7),
    "DE": ("49", "0", ["151", "160", "170", "176"], 8),
    "GB": ("44", "0", ["77", "78", "79"], 8),
    "NO": ("47", "", ["41", "90"], 6),
    "DK": ("45", "", ["20", "31", "42", "51"], 6),
    "FI": ("358", "0", ["40", "50"], 7),
}


def messy_phone(seeded: random.Random) -> tuple[str | None, str]:
    """A phone as people type it, and the customer's country."""
    country = seeded.choices(list(_COUNTRIES), [40, 20, 10, 12, 10, 8])[0]
    code, trunk, heads, length = _COUNTRIES[country]
    number = seeded.choice(heads) + f"{seeded.randrange(10**length):0{length}d}"
    spelling = seeded.choices(
        [
            f"{trunk}{number}",
            f"{trunk}{number[:2]}-{number[2:5]} {number[5:]}",
            f"+{code}{number}",
            f"+{code} {number[:2]} {number[2:5]} {number[5:]}",
            f"00{code}{number}",
            f"+{code} (0){number[:3]} {number[3:]}",
            f"{code}{number}",
            f"({trunk}{number[:3]}) {number[3:]}",
            f"{trunk}{number[:3]}/{number[3:]}",
            f" {trunk}{number[:3]}.{number[3:]}\u00a0",
            f"{trunk}{number} (mobile)",
            f"{trunk}{number} ext 12",
            f"{trunk}{number[:-3]}",
            seeded.choice([None, "", "-", "null", "0000000000", "not known"]),
        ],
        [350, 200, 150, 100, 50, 40, 20, 20, 15, 5, 3, 3, 10, 34],
    )[0]
    return spelling, country


def loop_google(values: Sequence[str | None]) -> Written:
    """What a careful programmer writes by hand for Google's form."""
    out: Written = []
    for value in values:
        email = (value or "").strip().lower()
        local, at, domain = email.partition("@")
        if not at or not local or not domain or "@" in domain or len(email.split()) != 1:
            out.append(None)
            continue
        if domain in ("gmail.com", "googlemail.com"):
            local = local.split("+", 1)[0].replace(".", "")
            email = f"{local}@{domain}"
        out.append(hashlib.sha256(email.encode()).hexdigest() if local else None)
    return out


def loop_meta(values: Sequence[str | None]) -> Written:
    """The same for Meta's form."""
    out: Written = []
    for value in values:
        email = (value or "").strip().lower()
        sides = email.split("@")
        usable = len(sides) == 2 and all(sides) and len(email.split()) == 1
        out.append(hashlib.sha256(email.encode()).hexdigest() if usable else None)
    return out


def google(values: Sequence[str | None]) -> Written:
    """`google-ads-datamanager-util`, as its documentation shows."""
    formatter = Formatter()
    out: Written = []
    for value in values:
        try:
            out.append(formatter.process_email_address(value, Encoding.HEX))
        except ValueError:
            out.append(None)
    return out


def meta(values: Sequence[str | None]) -> Written:
    """`facebook_business`, which hashes whatever it is given; nulls left out beforehand."""
    users = [value or "" for value in values]
    return list(
        CustomAudience.format_params(CustomAudience.Schema.email_hash, users)["payload"]["data"]
    )


def library(rows: Sequence[tuple[str | None, str]]) -> Written:
    """`phonenumbers` and hashlib, one by one."""
    out: Written = []
    for value, country in rows:
        try:
            number = phonenumbers.parse(value or "", country)
        except phonenumbers.NumberParseException:
            out.append(None)
            continue
        written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        valid = phonenumbers.is_valid_number(number)
        out.append(hashlib.sha256(written.encode()).hexdigest() if valid else None)
    return out


def ours(path: Path, *wanted: tuple[Kind, str]) -> np.ndarray:
    """The product's own call, batch by batch; the first wanted form, with the customers' ids."""
    ids, parts = [], []
    for batch in pq.ParquetFile(path).iter_batches(BATCH):
        frame = pl.DataFrame(batch)
        ids.append(frame["id"])
        parts.append(write_forms(frame, wanted, default_country="SE")[wanted[0]])
    return np.concatenate(parts)


def looped(path: Path, write: Callable[[Sequence[str | None]], Written]) -> Written:
    """A contestant that works value by value, on the batches of the same file.

    It keeps (id, hash) of every customer, as whoever compares with yesterday has to.
    """
    kept: list[tuple[int, str | None]] = []
    for batch in pq.ParquetFile(path).iter_batches(BATCH):
        kept += zip(batch.column("id").to_pylist(), write(batch.column(1).to_pylist()), strict=True)
    return [written for _, written in kept]


def hexes(written: np.ndarray) -> Written:
    """Arrays of the product in the contestants' own terms."""
    text = written.tobytes().hex()
    there = written.any(axis=1).tolist()
    return [text[i * 64 : i * 64 + 64] if yes else None for i, yes in enumerate(there)]


def rounds(contestants: dict[str, Callable[[], Any]]) -> tuple[dict[str, float], dict[str, Any]]:
    """Median CPU seconds and the last answer of each, in interleaved rounds.

    CPU time, not the clock's: other programs on the machine then change little.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    answers: dict[str, Any] = {}
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            answers.pop(name, None)
            started = time.process_time()
            answers[name] = run()
            seconds[name].append(time.process_time() - started)
    return {name: statistics.median(taken) for name, taken in seconds.items()}, answers


def check(title: str, found: Written, expected: Written) -> None:
    """Stop when one value differs; say how many were compared."""
    different = sum(a != b for a, b in zip(found, expected, strict=True))
    if different:
        sys.exit(f"{title}: {different:,} of {len(found):,} values differ")
    usable = sum(value is not None for value in found)
    print(f"  {title}: all {len(found):,} values equal ({usable:,} usable)")


def table(title: str, rows: int, seconds: dict[str, float]) -> dict[str, Any]:
    """Print rows per second, and how many times faster than each the first is."""
    first = next(iter(seconds.values()))
    print(f"\n{title}\n{'':44}{'M rows/s/core':>15}{'we are':>10}")
    for name, taken in seconds.items():
        print(f"{name:44}{rows / taken / 1e6:>15.2f}{taken / first:>9.1f}x")
    return {
        name: {"rows_per_second": round(rows / taken), "ratio": round(taken / first, 2)}
        for name, taken in seconds.items()
    }


def bench_emails(count: int, seeded: random.Random, folder: Path) -> dict[str, Any]:
    """Both e-mail forms, from a Parquet file to hashes in memory."""
    path = folder / "emails.parquet"
    values = [messy_email(seeded) for _ in range(count)]
    schema = {"id": pl.Int64, "email": pl.String}
    pl.DataFrame({"id": range(count), "email": values}, schema=schema).write_parquet(path)
    del values
    folded, plain = (Kind.EMAIL, "email/gmail-folded"), (Kind.EMAIL, "email/plain")
    google_seconds, answers = rounds(
        {
            "audience-sync, Google's form": lambda: ours(path, folded),
            "audience-sync, Google's and Meta's together": lambda: ours(path, folded, plain),
            "plain loop with hashlib": lambda: looped(path, loop_google),
            "google-ads-datamanager-util": lambda: looped(path, google),
        }
    )
    report = {"google": table("E-mail, Google's form", count, google_seconds)}
    expected = answers["google-ads-datamanager-util"]
    check(
        "against google-ads-datamanager-util",
        hexes(answers["audience-sync, Google's form"]),
        expected,
    )
    check("plain loop against the same", answers["plain loop with hashlib"], expected)
    meta_seconds, answers = rounds(
        {
            "audience-sync, Meta's form": lambda: ours(path, plain),
            "plain loop with hashlib": lambda: looped(path, loop_meta),
            "facebook_business": lambda: looped(path, meta),
        }
    )
    report["meta"] = table("E-mail, Meta's form", count, meta_seconds)
    found = hexes(answers["audience-sync, Meta's form"])
    check("against the plain loop", found, answers["plain loop with hashlib"])
    usable = [i for i, value in enumerate(found) if value is not None]
    theirs = answers["facebook_business"]
    check(
        "against facebook_business, usable", [found[i] for i in usable], [theirs[i] for i in usable]
    )
    print(f"  facebook_business also hashes {count - len(usable):,} blank or invalid values")
    return report


def bench_phones(count: int, seeded: random.Random, folder: Path) -> dict[str, Any]:
    """Phones to E.164, and how often the library was needed."""
    rows = [messy_phone(seeded) for _ in range(count)]
    path = folder / "phones.parquet"
    frame = pl.DataFrame(rows, schema={"phone": pl.String, "country": pl.String}, orient="row")
    frame.with_row_index("id").write_parquet(path)
    form = (Kind.PHONE, "phone/e164")
    seconds, answers = rounds(
        {
            "audience-sync, Google's form": lambda: ours(path, form),
            "phonenumbers and hashlib": lambda: library(rows),
        }
    )
    report: dict[str, Any] = table("Phone, Google's form", count, seconds)
    found = hexes(answers["audience-sync, Google's form"])
    check("against phonenumbers", found, answers["phonenumbers and hashlib"])
    settled = settle(frame["phone"], frame["country"], "SE")
    share = settled.open_rows / count
    print(f"  left to the library: {share:.2%} of the rows ({settled.asked:,} distinct values)")
    return report | {"left_to_library": round(share, 5)}


def main() -> None:
    """Measure on one core: a process of its own, in which polars has one thread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if os.environ.get("POLARS_MAX_THREADS") != "1":
        again = [sys.executable, *sys.orig_argv[1:]]
        environment = os.environ | {"POLARS_MAX_THREADS": "1"}
        sys.exit(subprocess.run(again, env=environment, check=False).returncode)
    seeded = random.Random(1)  # noqa: S311 - made-up customers
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        report = {
            "rows": arguments.rows,
            "email": bench_emails(arguments.rows, seeded, folder),
            "phone": bench_phones(max(1, arguments.rows // PHONE_SHARE), seeded, folder),
        }
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
