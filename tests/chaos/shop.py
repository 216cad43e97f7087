"""The shop whose customers change their minds: its source, its project, and whom it wants where."""

from __future__ import annotations

import hashlib
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import reference

from audience_sync.testing.project_template import write_demo_secrets

PARTNERS = ("meta", "google", "webhook")
LISTS = (
    ("everybody", "webhook"),
    ("everybody", "meta"),
    ("sweden", "webhook"),
    ("sweden", "meta"),
    ("sweden", "google"),
)
ROWS = 400  # in a part of the source, so that workers share a plan
MEMBERS = 40  # in a request to the webhook, so that they share a delivery
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT = """\
project: chaos
report_threshold: off
controller: Chaos AB
source:
  url: customers.parquet
  columns: {{customer_id: customer_id, email: email, phone: phone, consent: consent,
    consent_at: consent_at, account_status: account_status}}
guards: {{minimum_members: off, maximum_removals: off, maximum_growth: off,
  maximum_source_drop: off, maximum_unusable: off, maximum_consent_drop: off}}
destinations:
  meta:
    connector: meta
    base_url: {meta}/meta
    ad_account_id: "1234567890"
    access_token: file:secrets/meta-token
  google:
    connector: google
    base_url: {google}/google
    operating_account: "1234567890"
    credentials: file:secrets/google.json
    poll_after: 1
  webhook:
    connector: webhook
    base_url: {webhook}/webhook/shop
    recipient_name: Partner GmbH
    recipient_country: DE
    minimum_audience: 0
    identifiers: {{email: email/plain, phone: phone/e164}}
    secret: file:secrets/webhook
    members_per_request: {members}
    parallel_uploads: {parallel}
audiences:
  everybody: {{destinations: [webhook, meta]{schedule}}}
  sweden: {{where: "market = 'SE'", destinations: [webhook, meta, google]{schedule}}}
"""


class Shop:
    """Customers in a Parquet file, replaced as a whole whenever somebody changes."""

    def __init__(self, folder: Path, people: int, chance: random.Random) -> None:
        self.folder = folder
        self._chance = chance
        self._clock = 0
        self._fresh = 0
        self.rows = [self._row(number) for number in range(people)]
        self.write()

    def write_project(
        self, urls: dict[str, str], *, parallel: int, members: int, scheduled: bool
    ) -> None:
        """The project file, with each partner where its wire is."""
        schedule = ', schedule: "* * * * *"' if scheduled else ""
        text = PROJECT.format(**urls, members=members, parallel=parallel, schedule=schedule)
        (self.folder / "audience-sync.yaml").write_text(text)
        write_demo_secrets(self.folder, urls["google"])
        secret = self.folder / "secrets" / "webhook"
        secret.write_text("sandbox-webhook-secret")
        secret.chmod(0o600)

    def change(self, share: float) -> None:
        """Some withdraw, some come back, some change or share an address, some close accounts."""
        for row in self._chance.sample(self.rows, max(1, round(share * len(self.rows)))):
            self._chance.choice(_CHANGES)(self, row)
        self.write()

    def readdress(self) -> None:
        """Everybody has a new address."""
        for row in self.rows:
            self._readdress(row)
        self.write()

    def write(self) -> None:
        """Replace the file; who reads it meanwhile reads the old one to its end."""
        made = self.folder / f"new-{os.getpid()}"
        schema = dict.fromkeys(self.rows[0], pl.String)
        pl.DataFrame(self.rows, schema=schema).write_parquet(made, row_group_size=ROWS)
        made.rename(self.folder / "customers.parquet")

    def wanted(self, audience: str, partner: str) -> set[str]:
        """The identifiers that a list must hold, by the laws in plain Python."""
        found = set()
        for row, reason in zip(self.rows, reference.judge(self.rows, [], partner), strict=True):
            if reason is None and (audience == "everybody" or row["market"] == "SE"):
                phone = row["phone"] if partner != "meta" else row["phone"].removeprefix("+")
                found |= {_digest(row["email"]), _digest(phone)}
        return found

    def _row(self, number: int) -> dict[str, Any]:
        return {
            "customer_id": str(number),
            "email": self._email(),
            "phone": f"+4670{number:07}",
            "idfa": None,
            "consent": "granted" if self._chance.random() < 0.8 else "denied",
            "consent_at": self._now(),
            "account_status": "active",
            "market": "SE" if number % 3 == 0 else "NO",
        }

    def _email(self) -> str:
        self._fresh += 1
        return f"canary{self._fresh}@canary.example"

    def _now(self) -> str:
        self._clock += 1
        return (_FIRST + timedelta(seconds=self._clock)).isoformat()

    def _withdraw(self, row: dict[str, Any]) -> None:
        row |= {"consent": "withdrawn", "consent_at": self._now()}

    def _grant(self, row: dict[str, Any]) -> None:
        row |= {"consent": "granted", "consent_at": self._now(), "account_status": "active"}

    def _readdress(self, row: dict[str, Any]) -> None:
        row |= {"email": self._email()}

    def _share(self, row: dict[str, Any]) -> None:
        other = self._chance.choice(self.rows)
        row |= {"email": other["email"], "phone": other["phone"]}

    def _close(self, row: dict[str, Any]) -> None:
        row |= {"account_status": "closed"}


_CHANGES = (Shop._withdraw, Shop._withdraw, Shop._grant, Shop._readdress, Shop._share, Shop._close)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
