"""A shop with seven customers: no command tells how many they are, for people or as JSON."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from order_shop import COLUMNS, order_line
from shop import Shop, people

ORDERS = """\
orders:
  url: sqlite:///customers.db
  table: order_lines
  columns: {order_id: number, customer_id: customer, ordered_at: at, sku: article, name: title,
    quantity: quantity, amount: total, currency: currency, status: status, click_id: click,
    landed_at: landed, customer_status: kind}
  amounts: major
  destinations: [rakuten-se]
"""
RAKUTEN = """\
destinations:
  rakuten-se: {{connector: rakuten, base_url: {url}/rakuten, merchant_id: "37978"}}
"""
# Numbers that count nobody: places, attempts, versions, times, and lists or lines of ours.
NOBODY = {
    "position", "rejected_positions", "attempts", "batches", "version", "status", "code",
    "pieces", "done", "at_work", "alerts", "held", "open", "sequence", "lines", "checkpoints",
    "signed", "purged", "oldest", "p50", "p95", "deadline", "lists", "destinations", "traces",
    "plans", "files", "generation",
    "withdrawals", "queued", "sent", "acknowledged", "confirmed", "number",
}  # fmt: skip
# Where the words above count people all the same.
PEOPLE = {"delta.held", "withdrawals.open", "withdrawals.acknowledged", "clock.acknowledged"}
COUNTED = r"people|persons?|customers?|rows|members|orders|lines|identifiers?|withdraw\w*|e-mails?"
TOLD = re.compile(rf"(?<![\w.,:-])[1-9] (?:made-up )?(?:{COUNTED})\b")
COMMANDS = (
    "check", "plan everyone", "sync", "sync --dry-run", "plan orders", "status", "runs",
    "run RUN", "orders", "withdrawals", "canaries", "purge --dry-run", "purge", "ready", "health",
    "withdraw --file GONE", "withdraw --file GONE", "withdrawals --deliver", "sync", "status",
    "subject find --customer-id 5", "subject erase --customer-id 5", "status --poll", "runs",
)  # fmt: skip


@pytest.fixture
def shop(open_shop: Callable[..., Shop]) -> Shop:
    """Seven customers, one of whom refused, and their orders; the default threshold."""

    def change(text: str) -> str:
        text = text.replace("report_threshold: off\n", "") + ORDERS
        return text.replace("destinations:\n", RAKUTEN.format(url=made_at[0]), 1)

    made_at: list[str] = [""]
    made = open_shop([*people(6), (7, "no@example.com", None, "denied", "SE")])
    made_at[0] = made.url
    made.write(change=change)
    marks = ", ".join("?" * len(COLUMNS.split(",")))
    with contextlib.closing(sqlite3.connect(made.folder / "customers.db")) as base, base:
        base.execute(f"CREATE TABLE order_lines ({COLUMNS})")
        rows = [order_line(f"10{n}", n, f"SKU{n}", "49.99") for n in range(1, 8)]
        base.executemany(f"INSERT INTO order_lines VALUES ({marks})", rows)  # noqa: S608 - our own
    (made.folder / "gone.csv").write_text("customer_id\n1\n2\n77\n")
    return made


def _counts(document: Any, path: str = "") -> Iterator[tuple[str, int]]:
    """Every number from one to nine, and where it stands."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from _counts(value, f"{path}.{name}".strip("."))
    elif isinstance(document, list):
        for value in document:
            yield from _counts(value, path)
    elif type(document) is int and 0 < document < 10:
        yield path, document


def _tells(path: str) -> bool:
    last = path.rpartition(".")[2]
    return path.endswith(tuple(PEOPLE)) or last not in NOBODY


def test_nobody_is_told_how_few_they_are(shop: Shop) -> None:
    """Every number from one to nine is of nobody; sentences say `fewer than 10`."""
    told, wrong = "", set()
    for command in COMMANDS:
        gone = str(Path(shop.folder / "gone.csv"))
        newest = "" if "RUN" not in command else _newest(shop)
        words = [{"GONE": gone, "RUN": newest}.get(word, word) for word in command.split()]
        plain = shop.run(*words)
        wrong |= {(command, hit) for hit in TOLD.findall(plain.out + plain.err)}
        told += plain.out
        document = shop.run(*words, "--json").json
        wrong |= {(command, path) for path, _ in _counts(document) if _tells(path)}
    assert wrong == set()
    assert told.count("fewer than 10") > len(COMMANDS)


def _newest(shop: Shop) -> str:
    return str(shop.must("runs", "--audience", "everyone", "--json").json["runs"][-1]["id"])
