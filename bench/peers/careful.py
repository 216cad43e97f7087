"""The same service, written with care for speed: columns, no garbage collection, orjson, threads.

`python bench/peers/careful.py SOURCE URL STATE` does what `usual.py` does. What it still lacks is
the same: consent across accounts, encryption, a log, and a crash makes it forget what it sent.
"""

from __future__ import annotations

import gc
import re
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import requests
from requests.adapters import HTTPAdapter

BATCH = 10_000
THREADS = 4
ROWS = 100_000


def columns(path: Path, latest: datetime) -> Iterator[tuple[list[Any], list[Any], list[Any]]]:
    """E-mails, consent words and times in blocks, and times that compare with `latest`."""
    if path.suffix == ".parquet":
        names = ["email", "ads_consent", "ads_consent_at"]
        file = pq.ParquetFile(path)
        for batch in file.iter_batches(ROWS, columns=names):
            email, word, at = (batch.column(name) for name in names)
            yield email.to_pylist(), word.to_pylist(), at.cast("int64").to_pylist()
        return
    cursor = sqlite3.connect(path).execute(
        "SELECT email, ads_consent, ads_consent_at FROM customers"
        " WHERE ads_consent = 'granted' AND email IS NOT NULL"
        " AND (ads_consent_at IS NULL OR ads_consent_at <= ?)",
        [latest.isoformat(" ")],
    )
    while rows := cursor.fetchmany(ROWS):
        emails = [row[0] for row in rows]
        yield emails, ["granted"] * len(rows), [None] * len(rows)


def wanted(path: Path) -> set[str]:
    """The hashes of everybody who agreed."""
    latest = datetime.now() + timedelta(days=1)  # noqa: DTZ005 - the source has no zone either
    limit = int(latest.timestamp() * 1_000_000)
    usable = re.compile(r"[^@\s]+@[^@\s]+").fullmatch
    hashes: set[str] = set()
    add = hashes.add
    for emails, words, times in columns(path, latest):
        for email, word, at in zip(emails, words, times, strict=True):
            if word == "granted" and email and (at is None or at <= limit):
                written = email.strip().lower()
                if usable(written):
                    add(sha256(written.encode()).hexdigest())
    return hashes


def send(session: requests.Session, method: str, url: str, hashes: set[str]) -> None:
    """Ten thousand a request, encoded once, four at a time."""

    def one(rows: list[str]) -> None:
        body = orjson.dumps({"payload": {"schema": "EMAIL_SHA256", "data": rows}})
        headers = {"Content-Type": "application/json"}
        answer = session.request(method, url, data=body, headers=headers, timeout=60)
        answer.raise_for_status()
        if orjson.loads(answer.content)["num_received"] != len(rows):
            sys.exit("the partner did not take every row")

    waiting = iter(hashes)
    batches = iter(lambda: list(islice(waiting, BATCH)), [])
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(one, batches):
            pass


def main() -> None:
    """Sync once."""
    gc.disable()
    source, url, state = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    before = set(state.read_text().split()) if state.exists() else set()
    now = wanted(source)
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", HTTPAdapter(pool_maxsize=THREADS))
        send(session, "DELETE", url, before - now)
        send(session, "POST", url, now - before)
    state.write_text("\n".join(now))


if __name__ == "__main__":
    main()
