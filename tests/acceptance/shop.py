"""A small shop with a customer base of its own, driven through the command line."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from audience_sync.cli.start import run
from audience_sync.testing.project_template import write_demo_secrets

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90.0  # seconds; other programs may keep the machine busy
PROGRAM = ("-m", "audience_sync.cli")

COLUMNS = "id, email, phone, consent, market"
PROJECT = """\
project: corner-shop
controller: Corner Shop AB
source:
  url: sqlite:///customers.db
  table: customers
  columns: {{customer_id: id, email: email, phone: phone, consent: consent}}
policy: {{default_country: SE}}
report_threshold: off
guards: {guards}
destinations:
  meta-se:
    connector: meta
    base_url: {meta}
    ad_account_id: "1234567890"
    access_token: file:secrets/meta-token
  google-se:
    connector: google
    base_url: {url}/google
    operating_account: "1234567890"
    credentials: file:secrets/google.json
    poll_after: 0.01
audiences:
  everyone: {{destinations: {destinations}}}
  swedes: {{where: "market = 'SE'", destinations: {destinations}}}
"""
NO_GUARDS = (
    "{minimum_members: off, maximum_removals: off, maximum_growth: off, "
    "maximum_source_drop: off, maximum_unusable: off, maximum_consent_drop: off}"
)


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Shop:
    """A project folder and the sandbox that its destinations point at."""

    folder: Path
    url: str

    @property
    def project(self) -> Path:
        """The project file."""
        return self.folder / "audience-sync.yaml"

    def write(
        self,
        *,
        guards: str = NO_GUARDS,
        destinations: str = "[meta-se, google-se]",
        meta: str | None = None,
        change: Callable[[str], str] = str,
    ) -> None:
        """Write the project file anew; `change` may bend it."""
        text = PROJECT.format(
            guards=guards, destinations=destinations, url=self.url, meta=meta or f"{self.url}/meta"
        )
        self.project.write_text(change(text))

    def customers(self, rows: Sequence[Sequence[Any]]) -> None:
        """Make these the customers: id, email, phone, consent, market."""
        with contextlib.closing(sqlite3.connect(self.folder / "customers.db")) as base, base:
            base.execute("DROP TABLE IF EXISTS customers")
            base.execute(f"CREATE TABLE customers ({COLUMNS})")
            base.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", rows)

    def sql(self, statement: str) -> None:
        """Change the customers."""
        with contextlib.closing(sqlite3.connect(self.folder / "customers.db")) as base, base:
            base.execute(statement)

    def run(self, *words: str) -> Ended:
        """Run a command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(["--project", str(self.project), *words])
        return Ended(code, out.getvalue(), err.getvalue())

    def must(self, *words: str) -> Ended:
        """Run a command that must end well."""
        ended = self.run(*words)
        assert ended.code == 0, ended
        return ended

    def started(
        self, *words: str, program: Sequence[str] = PROGRAM, **environment: str
    ) -> subprocess.Popen[str]:
        """The command in a process of its own."""
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, *program, "--project", str(self.project), *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def in_process(self, *words: str, **environment: str) -> Ended:
        """Run a command in a process of its own to its end."""
        process = self.started(*words, **environment)
        out, err = process.communicate(timeout=PATIENCE)
        return Ended(process.returncode, out, err)

    def control(self, path: str, **wish: Any) -> Any:
        """Tell the sandbox something."""
        return requests.post(f"{self.url}/_control/{path}", json=wish, timeout=PATIENCE).json()

    def fault(self, kind: str, operation: str = "add", partner: str = "meta", **more: Any) -> None:
        """Switch a fault on."""
        told = self.control("faults", partner=partner, operation=operation, kind=kind, **more)
        assert "faults" in told, told

    def clear_faults(self) -> None:
        """Switch all faults off."""
        requests.delete(f"{self.url}/_control/faults", timeout=PATIENCE)

    def journal(self, partner: str | None = None) -> list[dict[str, Any]]:
        """The requests that the sandbox has seen, tokens left out."""
        asked = {} if partner is None else {"partner": partner}
        found = requests.get(f"{self.url}/_control/journal", params=asked, timeout=PATIENCE)
        return [entry for entry in found.json()["requests"] if entry["operation"] != "token"]

    def held(self, audience: str = "everyone", partner: str = "meta") -> dict[str, set[str]]:
        """What the partner holds for an audience, by kind."""
        state = requests.get(f"{self.url}/_control/state", timeout=PATIENCE).json()
        name = f"corner-shop {audience}"
        found = [entry["id"] for entry in state[partner]["lists"] if entry["name"] == name]
        assert len(found) <= 1, "a twin of the list was made"
        if not found:
            return {}
        asked = {"partner": partner, "list": found[0]}
        told = requests.get(f"{self.url}/_control/members", params=asked, timeout=PATIENCE).json()
        return {kind: set(values) for kind, values in told["identifiers"].items() if values}


def expected(rows: Sequence[Sequence[Any]], *, market: str | None = None) -> dict[str, set[str]]:
    """What Meta must hold for these customers, computed by hand."""
    wanted: dict[str, set[str]] = {"email": set(), "phone": set()}
    for _, email, phone, consent, where in rows:
        if consent == "granted" and market in (None, where):
            wanted["email"].add(sha256(email.strip().lower()))
            if phone is not None:
                wanted["phone"].add(sha256("46" + phone.replace(" ", "").lstrip("0")))
    return {kind: values for kind, values in wanted.items() if values}


def sha256(text: str) -> str:
    """As partners want it."""
    return hashlib.sha256(text.encode()).hexdigest()


def people(count: int, *, consent: str = "granted") -> list[tuple[Any, ...]]:
    """Customers with messy but plain identifiers, every third of them in Norway."""
    return [
        (
            number,
            f" Person.{number}@Example.COM",
            f"070 {number + 1_000_000}",
            consent,
            "NO" if number % 3 == 0 else "SE",
        )
        for number in range(1, count + 1)
    ]


def new_shop(folder: Path, url: str, rows: Sequence[Sequence[Any]], **more: Any) -> Shop:
    """A shop with these customers."""
    folder.mkdir(parents=True, exist_ok=True)
    write_demo_secrets(folder, url)
    shop = Shop(folder, url)
    shop.customers(rows)
    shop.write(**more)
    return shop


def counts(ended: Ended, audience: str = "everyone") -> Mapping[str, int]:
    """The delta of an audience at its first destination, from --json."""
    [first, *_] = [o for o in ended.json["outcomes"] if o["audience"] == audience]
    found: Mapping[str, int] = first["run"]["delta"]
    return found
