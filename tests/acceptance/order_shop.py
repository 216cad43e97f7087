"""A shop that reports orders to a simulated Rakuten, driven through the command line."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from shop import NO_GUARDS, PATIENCE, Ended, Shop

PROJECT = """\
project: corner-shop
report_threshold: off
controller: Corner Shop AB
source:
  url: sqlite:///shop.db
  table: customers
  columns: {{customer_id: id, email: email, phone: phone, consent: consent}}
policy: {{default_country: SE}}
guards: {guards}
destinations:
  rakuten-se:
    connector: rakuten
    base_url: {url}/rakuten
    merchant_id: "37978"
    {more}
audiences: {{}}
orders:
  url: sqlite:///shop.db
  table: order_lines
  columns:
    order_id: number
    customer_id: customer
    ordered_at: at
    sku: article
    name: title
    quantity: quantity
    amount: total
    currency: currency
    status: status
    click_id: click
    landed_at: landed
    customer_status: kind
  amounts: major
  destinations: [rakuten-se]
"""
ORDERED = datetime.now(UTC) - timedelta(days=2)
COLUMNS = (
    "number, customer, at, article, title, quantity, total, currency, status, click, landed, kind"
)


def order_line(number: str, customer: int, sku: str, total: str, **more: Any) -> tuple[Any, ...]:
    """One row of order lines; name what should differ."""
    usual = {
        "at": f"{ORDERED:%Y-%m-%d %H:%M:%S}",
        "title": f"Fine {sku}",
        "quantity": 1,
        "currency": "USD",
        "status": "paid",
        "click": "abcDEF12345-xyzXYZ6789012345678901",
        "landed": f"{ORDERED - timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
        "kind": "existing",
    }
    row = {"number": number, "customer": customer, "article": sku, "total": total} | usual | more
    return tuple(row[name.strip()] for name in COLUMNS.split(","))


@dataclass(frozen=True)
class OrderShop:
    """A project folder with customers and order lines."""

    folder: Path
    url: str
    more: str = "source: test"
    _shop: Any = field(default=None, repr=False)

    def write(self, *, guards: str = NO_GUARDS) -> None:
        """Write the project file anew."""
        text = PROJECT.format(guards=guards, url=self.url, more=self.more)
        (self.folder / "audience-sync.yaml").write_text(text)

    def send_by_file(self, server: Mapping[str, Any]) -> None:
        """Report to this file server from now on."""
        (self.folder / "password").write_text(server["password"])
        written = {**server, "password": f"file:{self.folder / 'password'}"}
        path = self.folder / "audience-sync.yaml"
        more = f"send_by: sftp\n    sftp: {json.dumps(written)}"
        path.write_text(path.read_text().replace(self.more, more))

    def started(self, *words: str) -> subprocess.Popen[str]:
        """A command in a process of its own."""
        return self._lines.started(*words)

    def customers(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Make these the customers: id, email, phone, consent."""
        self._fill("customers", "id, email, phone, consent", rows)

    def orders(self, *rows: tuple[Any, ...]) -> None:
        """Make these the order lines."""
        self._fill("order_lines", COLUMNS, rows)

    def sql(self, statement: str) -> None:
        """Change the shop."""
        with contextlib.closing(sqlite3.connect(self.folder / "shop.db")) as base, base:
            base.execute(statement)

    def run(self, *words: str) -> Ended:
        """Run a command in this process."""
        return self._lines.run(*words)

    def must(self, *words: str) -> Ended:
        """Run a command that must end well."""
        return self._lines.must(*words)

    def synced(self) -> dict[str, Any]:
        """Report orders; the run."""
        found: dict[str, Any] = self.must("sync", "orders", "--json").json["outcomes"][0]["run"]
        return found

    def fault(self, kind: str, **more: Any) -> None:
        """Switch a fault on."""
        self._lines.fault(kind, operation="order", partner="rakuten", **more)

    def faults(self) -> list[dict[str, Any]]:
        """The faults that no request has met yet."""
        told = requests.get(f"{self.url}/_control/faults", timeout=PATIENCE).json()
        found: list[dict[str, Any]] = told["faults"]
        return found

    def control(self, path: str, **wish: Any) -> Any:
        """Tell the sandbox something."""
        return self._lines.control(path, **wish)

    def calls(self) -> list[dict[str, Any]]:
        """The order calls that reached the partner."""
        return self._lines.journal("rakuten")

    def counted(self, reading: str = "identifiers") -> list[str]:
        """What the partner counts: lines with their sums, or with `people` the references."""
        asked = {"partner": "rakuten", "list": "37978", "reading": reading}
        told = requests.get(f"{self.url}/_control/members", params=asked, timeout=PATIENCE).json()
        if "identifiers" not in told:
            return []
        [found] = told["identifiers"].values()
        return list(found)

    def log(self) -> list[dict[str, Any]]:
        """The transfer log."""
        return [entry["line"] for entry in self.must("log", "--json").json["lines"]]

    @property
    def _lines(self) -> Shop:
        return Shop(self.folder, self.url)

    def _fill(self, table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with contextlib.closing(sqlite3.connect(self.folder / "shop.db")) as base, base:
            base.execute(f"DROP TABLE IF EXISTS {table}")
            base.execute(f"CREATE TABLE {table} ({columns})")
            marks = ", ".join("?" * len(columns.split(",")))
            base.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - our own table
