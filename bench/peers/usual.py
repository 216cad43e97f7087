"""A service as it is usually written: a loop over rows, hashlib, sets, `json=`.

`python bench/peers/usual.py SOURCE URL STATE` sends the consenting customers of SOURCE to the list
at URL and remembers in STATE what it sent. It does what it does rightly, but has no consent across
accounts, no encryption, no log, and a crash makes it forget what it sent.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import sqlite3
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import requests

BATCH = 10_000
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def customers(path: Path) -> Iterator[dict[str, Any]]:
    """One row after the other."""
    if path.suffix == ".parquet":
        columns = ["email", "ads_consent", "ads_consent_at"]
        for batch in pq.ParquetFile(path).iter_batches(columns=columns):
            yield from batch.to_pylist()
        return
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    for row in connection.execute("SELECT email, ads_consent, ads_consent_at FROM customers"):
        given = row["ads_consent_at"]
        yield {
            "email": row["email"],
            "ads_consent": row["ads_consent"],
            "ads_consent_at": datetime.fromisoformat(given) if given else None,
        }


def wanted(path: Path) -> set[str]:
    """The hashes of everybody who agreed."""
    latest = datetime.now() + timedelta(days=1)  # noqa: DTZ005 - as it is usually written
    hashes = set()
    for row in customers(path):
        if row["ads_consent"] != "granted" or not row["email"]:
            continue
        if row["ads_consent_at"] is not None and row["ads_consent_at"] > latest:
            continue
        email = row["email"].strip().lower()
        if EMAIL.fullmatch(email):
            hashes.add(hashlib.sha256(email.encode()).hexdigest())
    return hashes


def send(session: requests.Session, method: str, url: str, hashes: set[str]) -> None:
    """One request for every ten thousand."""
    waiting = list(hashes)
    for start in range(0, len(waiting), BATCH):
        rows = waiting[start : start + BATCH]
        body = {"payload": {"schema": "EMAIL_SHA256", "data": rows}}
        answer = session.request(method, url, json=body, timeout=60)
        answer.raise_for_status()
        if answer.json()["num_received"] != len(rows):
            sys.exit("the partner did not take every row")


def main() -> None:
    """Sync once."""
    source, url, state = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    before: set[str] = pickle.loads(state.read_bytes()) if state.exists() else set()  # noqa: S301 - its own file
    now = wanted(source)
    with requests.Session() as session:
        send(session, "DELETE", url, before - now)
        send(session, "POST", url, now - before)
    state.write_bytes(pickle.dumps(now))


if __name__ == "__main__":
    main()
