"""A shop in which every raw field and every secret is a value that stands nowhere else."""

from __future__ import annotations

import base64
import contextlib
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from redteam.project import PROJECT
from shop import Shop, sha256

from audience_sync.sandbox import RunningSandbox, options, running_sandbox
from audience_sync.sandbox.google import oauth as google
from audience_sync.sandbox.snapchat import oauth as snapchat
from audience_sync.testing.demo_partners import demo_secrets

PEOPLE = 24
MARKETS = ("marknad-zqvx-nord", "marknad-zqvx-soder")
STATE_KEY, OLD_STATE_KEY = b"Zq7-this-is-the-state-key-canary", b"Zq7-an-older-state-key-as-canary"
FINGERPRINT_KEY = b"Zq7-the-key-that-makes-the-prints"[:32]
SIGNING_KEY = b"Zq7-the-key-that-signs-the-log-xy"[:32]
KEYS = {
    "the state key": STATE_KEY,
    "the older state key": OLD_STATE_KEY,
    "the fingerprint key": FINGERPRINT_KEY,
    "the signing key": SIGNING_KEY,
}
SECRETS = {
    "META_TOKEN": "EAAzq7MetaAccessTokenCanary",
    "META_APP_SECRET": "zq7-meta-app-secret-canary",
    "TIKTOK_TOKEN": "zq7-tiktok-access-token-canary",
    "SNAPCHAT_SECRET": "zq7-snapchat-client-secret-canary",
    "SNAPCHAT_REFRESH": "zq7-snapchat-refresh-token-canary",
    "PINTEREST_SECRET": "zq7-pinterest-app-secret-canary",
    "PINTEREST_REFRESH": "zq7-pinterest-refresh-token-canary",
    "X_CONSUMER_SECRET": "zq7-x-consumer-secret-canary",
    "X_ACCESS_TOKEN": "zq7-x-access-token-canary",
    "X_ACCESS_TOKEN_SECRET": "zq7-x-access-token-secret-canary",
    "WEBHOOK_SECRET": "zq7-webhook-hmac-secret-canary",
    "WEBHOOK_API_KEY": "zq7-webhook-api-key-canary",
    "SFTP_PASSWORD": "zq7-sftp-password-canary",
    "REDIS_PASSWORD": "zq7-redis-password-canary",
    "DATABASE_PASSWORD": "zq7-password-of-the-database-canary",
    "SHOP_KEY": "zq7-key-of-the-shop-that-signs-canary",
    "ONETRUST_KEY": "zq7-key-of-onetrust-that-signs-canary",
    "USERCENTRICS": "Basic enE3OnVzZXJjZW50cmljcy1wYXNzd29yZC1jYW5hcnk=",
    "google client_secret": "zq7-google-client-secret-canary",
    "google refresh_token": "zq7-google-refresh-token-canary",
}
BIRD = {"email": "Zq7.Canary.Bird@Shop-zq7.Example", "phone": "070 731 99 99"}


def customer(number: int) -> dict[str, Any]:
    """One customer, all of whose values are their own."""
    born = datetime(1931, 1, 3, tzinfo=UTC) + timedelta(days=397 * number)
    active = datetime(2026, 9, 1, 3, 14, 15, 926000 + number, UTC) + timedelta(days=number)
    said = datetime(2026, 3, 1, 2, 7, 18, 281000 + number, UTC) + timedelta(days=number)
    return {
        "id": f"kund-zqvx{number:03}-nyckel",
        "email": f" Zqvx{number:03}.Postlada+Shop@Brev-{number:03}.Example",
        "phone": f"070-73{number:02} {141 + number}",
        "idfa": str(uuid.uuid5(uuid.NAMESPACE_URL, f"idfa {number}")).upper(),
        "gaid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"gaid {number}")),
        "loyalty": f"lojal-zqvx{number:03}-kort",
        "consent": "granted",
        "consent_at": f"{said:%Y-%m-%d %H:%M:%S.%f}",
        "born": f"{born:%Y-%m-%d}",
        "active": f"{active:%Y-%m-%d %H:%M:%S.%f}",
        "name": f"Zqvxine{number:03} Fornamn-Efternamn",
        "street": f"Zqvxgatan {number:03} uppgang B",
        "value": f"{900_000 + 7_919 * number}.53",
        "market": MARKETS[number % 2],
        "status": "active",
        "origin": "purchase",
    }


def order(number: int, customer: int) -> dict[str, Any]:
    """One line of an order that an affiliate's link led to."""
    ordered = datetime.now(UTC) - timedelta(days=2, seconds=number)
    return {
        "number": f"order-zqvx{number:05}",
        "customer": f"kund-zqvx{customer:03}-nyckel",
        "at": f"{ordered:%Y-%m-%d %H:%M:%S}",
        "article": f"artikel-zqvx{number:05}",
        "title": f"Zqvxtroja {number:05} merinoull",
        "quantity": 1,
        "total": f"{7_931_000 + number}.37",
        "currency": "SEK",
        "status": "paid",
        "click": f"zqvxCLICK{number:05}-xyzXYZ67890123456",
        "landed": f"{ordered - timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
        "kind": "existing",
    }


BAD = (
    {"email": "Zqvxbad0 is no address", "phone": "zqvxbad0-phone", "idfa": "zqvxbad0-device"},
    {"consent": "kanske-zqvxbad1-ja", "consent_at": "zqvxbad1-no-time"},
    {"born": "zqvxbad2-no-birthday", "active": "zqvxbad2-never-active"},
    {"status": "zqvxbad3-half-closed", "origin": "zqvxbad3-from-a-broker"},
    {"email": None, "phone": None, "idfa": None, "gaid": None},
)
_NOT_OURS = {"consent", "status", "origin", "quantity", "currency", "kind", "at", "landed"}


def values(people: int = PEOPLE) -> dict[str, str]:
    """Every raw value by a name that may be told."""
    found = dict(SECRETS) | {f"canary {kind}": value for kind, value in BIRD.items()}
    found |= {f"market {number}": market for number, market in enumerate(MARKETS)}
    for number in range(people):
        for field, value in customer(number).items():
            if field not in _NOT_OURS:
                found[f"{field} of customer {number}"] = str(value)
        for field, value in order(number, number).items():
            if field not in _NOT_OURS:
                found[f"{field} of order {number}"] = str(value)
    found |= {f"number of a later order {at}": f"order-zqvx9{at:04}" for at in (15, 16)}
    for number, bad in enumerate(BAD):
        found |= {f"{field} of bad row {number}": value for field, value in bad.items() if value}
    return found


def environment() -> dict[str, str]:
    """What the project file and the settings ask for."""
    encoded = {name: base64.b64encode(key).decode() for name, key in KEYS.items()}
    return {name: value for name, value in SECRETS.items() if name.isupper()} | {
        "AUDIENCE_SYNC_STATE_KEYS": f"k2:{encoded['the state key']},"
        f"k1:{encoded['the older state key']}",
        "AUDIENCE_SYNC_FINGERPRINT_KEY": encoded["the fingerprint key"],
        "AUDIENCE_SYNC_SIGNING_KEY": encoded["the signing key"],
        "AUDIENCE_SYNC_LOG_LEVEL": "debug",
    }


@dataclass(frozen=True)
class Target(Shop):
    """The shop, its customers as rows by column."""

    def fill(self, people: int = PEOPLE) -> None:
        """Write customers, decisions and orders anew, some of whom nobody can read."""
        rows = [customer(number) for number in range(people)]
        for row in rows:
            row["loyalty_hash"] = sha256(row.pop("loyalty"))
        usual = {**rows[0], "loyalty_hash": None}
        rows += [usual | {"id": f"kund-zqvxbad-{at}"} | dict(bad) for at, bad in enumerate(BAD)]
        for at, bad in enumerate(rows[people:]):
            bad["email"] = bad["email"] if "email" in BAD[at] else f"zqvxbad{at}.x@brev.example"
            for field in ("phone", "idfa", "gaid"):
                bad[field] = BAD[at].get(field)
        self._table("customers", rows)
        said = {
            "decided_at": "2026-10-02 03:14:15.926535",
            "channel": "zqvx-kanal",
            "partner": None,
        }
        self._table("decisions", [
            {"customer_id": rows[2]["id"], "decision": "withdrawn", **said},
            {"customer_id": rows[3]["id"], "decision": "denied", **said, "partner": "meta"},
            {"customer_id": "kund-zqvx-nobody", "decision": "zqvxnonsense", **said},
        ])  # fmt: skip
        self._table("order_lines", [order(number, number) for number in range(people)])

    def sql(self, statement: str) -> None:
        """Change the customers."""
        with contextlib.closing(sqlite3.connect(self.folder / "shop.db")) as base, base:
            base.execute(statement)

    def change(self, turn: int = 0) -> None:
        """Somebody leaves, somebody comes back, an order changes: every list has work."""
        leaving, coming = f"%zqvx{21 + turn % 2:03}%", f"%zqvx{22 - turn % 2:03}%"
        for word, who in (("denied", leaving), ("granted", coming)):
            self.sql(f"UPDATE customers SET consent = '{word}' WHERE id LIKE '{who}'")  # noqa: S608 - our own
        lines = f"UPDATE order_lines SET quantity = {turn + 2} WHERE number LIKE '%00019'"  # noqa: S608 - the same
        self.sql(lines)

    def add_order(self, number: str, like: int) -> None:
        """One more order of somebody who has one."""
        more = ", ".join(column for column in order(0, 0) if column != "number")
        of_them = f"SELECT '{number}', {more} FROM order_lines WHERE number LIKE '%{like:05}'"  # noqa: S608 - our own
        self.sql(f"INSERT INTO order_lines (number, {more}) {of_them}")

    def _table(self, name: str, rows: list[dict[str, Any]]) -> None:
        columns = ", ".join(rows[0])
        marks = ", ".join("?" * len(rows[0]))
        with contextlib.closing(sqlite3.connect(self.folder / "shop.db")) as base, base:
            base.execute(f"DROP TABLE IF EXISTS {name}")
            base.execute(f"CREATE TABLE {name} ({columns})")
            base.executemany(
                f"INSERT INTO {name} VALUES ({marks})",  # noqa: S608 - our own table
                [tuple(row[column] for column in rows[0]) for row in rows],
            )

    @property
    def given(self) -> list[Path]:
        """The files that are not ours: sources, secrets, what people hand in."""
        names = ("shop.db", "secrets", "audience-sync.yaml", "given")
        return [self.folder / name for name in names]


def new_target(folder: Path, partners: str, file_server: Mapping[str, Any]) -> Target:
    """The project, its secrets and customers; partners are reached at an address that listens."""
    (folder / "secrets").mkdir(parents=True)
    (folder / "given").mkdir()
    (folder / "secrets/x-consumer-key").write_text(options.X_CREDENTIALS["consumer_key"])
    (folder / "secrets/google.json").write_text(demo_secrets(partners)["secrets/google.json"])
    target = Target(folder, partners)
    target.project.write_text(PROJECT.format(url=partners, market=MARKETS[0], **file_server, **{
        f"bird_{kind}": value for kind, value in BIRD.items()
    }))  # fmt: skip
    target.fill()
    leaving = [
        {"email": customer(8)["email"], "phone": None, "customer_id": None},
        {"email": None, "phone": "zqvx", "customer_id": None},
        {"email": None, "phone": None, "customer_id": customer(9)["id"]},
    ]
    pl.DataFrame(leaving).write_csv(folder / "given/leaving.csv")
    (folder / "given/nonsense.csv").write_text("epost\n" + customer(19)["email"] + "\n")
    return target


@contextmanager
def partners_with_canaries() -> Iterator[RunningSandbox]:
    """Simulated partners that take exactly our secrets."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("consumer_secret", "access_token", "access_token_secret"):
            patch.setitem(options.X_CREDENTIALS, name, SECRETS[f"X_{name.upper()}"])
        patch.setitem(options.PINTEREST_CREDENTIALS, "app_secret", SECRETS["PINTEREST_SECRET"])
        patch.setitem(options.PINTEREST_CREDENTIALS, "refresh_token", SECRETS["PINTEREST_REFRESH"])
        patch.setattr(snapchat, "CLIENT_SECRET", SECRETS["SNAPCHAT_SECRET"])
        patch.setattr(snapchat, "REFRESH_TOKEN", SECRETS["SNAPCHAT_REFRESH"])
        patch.setattr(google, "CLIENT_SECRET", SECRETS["google client_secret"])
        patch.setattr(google, "REFRESH_TOKEN", SECRETS["google refresh_token"])
        with running_sandbox(
            google_processing_seconds=0.0,
            webhook_secret=SECRETS["WEBHOOK_SECRET"],
            meta_app_secret=SECRETS["META_APP_SECRET"],
        ) as sandbox:
            yield sandbox
