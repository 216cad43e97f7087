"""The red team's attack on what is refused: project files, settings and sources that are wrong."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import polars as pl
import psycopg
import pytest
from redteam.attack import Attack
from redteam.target import SECRETS, STATE_KEY, customer

ANNA, BO = customer(3), customer(4)
TOKEN, PASSWORD = SECRETS["META_TOKEN"], SECRETS["DATABASE_PASSWORD"]
DEAD = f"postgresql+psycopg://tests:{PASSWORD}@127.0.0.1:1/shop"
BIRD = "Zq7.Canary.Bird@Shop-zq7.Example"
REFERENCE = "access_token: ${META_TOKEN}"
# What is written in the project file in place of what.
PROJECTS: dict[str, tuple[str, str]] = {
    "a secret stands in it": ("${META_TOKEN}", TOKEN),
    "a password stands in it": ("sqlite:///shop.db", DEAD),
    "half a secret stands in it": ("${META_TOKEN}", f"Bearer {TOKEN} ${{META_TOKEN}}"),
    "a secret stands under a wrong key": (REFERENCE, f"acces_token: {TOKEN}"),
    "a secret stands for an account": ('account_id: "1234567890"', "account_id: ${X_ACCESS_TOKEN}"),
    "a secret stands for a number": ("poll_after: 0.01", "poll_after: ${X_ACCESS_TOKEN}"),
    "a secret stands in a broken line": (REFERENCE, f"access_token: {TOKEN}: [x"),
    "a secret stands in an address": ("sqlite:///shop.db", "${X_ACCESS_TOKEN}://shop"),
    "a secret is a section": (REFERENCE, "access_token: {a: ${META_TOKEN}}"),
    "a canary's address is a list": (BIRD, f"[{BIRD}]"),
    "a canary has a wrong key": ('phone: "070 731 99 99"', 'phne: "070 731 99 99"'),
    "a condition names a person": ("market = 'marknad-zqvx-nord'", f'"{ANNA["email"]}" = nobody'),
}
SETTINGS = {
    "STATE_KEYS": f"k1:{base64.b64encode(STATE_KEY).decode()[:-6]}",
    "FINGERPRINT_KEY": SECRETS["SHOP_KEY"],
    "SIGNING_KEY": SECRETS["SHOP_KEY"],
    "DATABASE_URL": f"oracle://u:{PASSWORD}@host/db",
    "BROKER_URL": f"amqp://u:{SECRETS['REDIS_PASSWORD']}@host/0",
    "LOG_LEVEL": SECRETS["SHOP_KEY"],
    "SPLIT_ROWS": SECRETS["SHOP_KEY"],
}


def _try(attack: Attack) -> None:
    attack.run("ready", "--json")
    attack.run("plan", "north", "--destination", "webhook-se", "--debug")


def test_wrong_project_files_are_told_without_their_secrets(attack: Attack) -> None:
    """The line and the key, and never what stands there."""
    usual = attack.target.project.read_text()
    for wrong, (old, new) in PROJECTS.items():
        assert old in usual, wrong
        attack.target.project.write_text(usual.replace(old, new, 1))
        ended = attack.run("check", "--debug")
        assert ended.code, wrong
        attack.run("plan", "north", "--destination", "webhook-se", "--json")
    assert attack.hits() == []


def test_wrong_settings_are_told_without_their_values(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys, addresses with passwords, and what is no setting at all."""
    for name, value in SETTINGS.items():
        with monkeypatch.context() as patch:
            patch.setenv(f"AUDIENCE_SYNC_{name}", value)
            _try(attack)
    for url in (DEAD, f"postgresql://tests:{PASSWORD}@[::1/x"):
        with monkeypatch.context() as patch:
            patch.setenv("AUDIENCE_SYNC_DATABASE_URL", url)
            _try(attack)
            attack.run("migrate", "--debug")
    with monkeypatch.context() as patch:
        broker = f"redis://u:{SECRETS['REDIS_PASSWORD']}@127.0.0.1:1/0"
        patch.setenv("AUDIENCE_SYNC_BROKER_URL", broker)
        _try(attack)
    assert attack.hits() == []


def _bytes(folder: Path, text: str, name: str = "given/source.csv") -> str:
    (folder / name).write_bytes(text.encode("latin-1"))
    return name


def _ndjson(folder: Path, text: str) -> str:
    return _bytes(folder, text, "given/source.ndjson")


def _nested(folder: Path) -> str:
    columns = {"id": [{"x": ANNA["id"]}], "email": [[ANNA["email"]]]}
    more = {"consent": [ANNA["name"]], "phone": [b"x"]}
    pl.DataFrame(columns | more, strict=False).write_parquet(folder / "given/source.parquet")
    return "given/source.parquet"


HEAD = "id,email,phone,consent\n"
ROW = f"{ANNA['id']},{ANNA['email']},{ANNA['phone']}"
SOURCES: dict[str, Callable[[Path], str]] = {
    "twice the same key": lambda f: _bytes(f, f"{HEAD}{ROW},granted\n{ROW},granted\n"),
    "too many cells": lambda f: _bytes(f, f"{HEAD}{ROW},granted,{ANNA['name']},{ANNA['street']}\n"),
    "an open quote": lambda f: _bytes(f, f'{HEAD}"{ROW},granted\n'),
    "a row in place of the head": lambda f: _bytes(f, f"{ROW},granted\n{ROW},granted\n"),
    "bytes that are no text": lambda f: _bytes(f, f"{HEAD}{ROW},\xff\n"),
    "a value in place of the consent": lambda f: _bytes(f, f"{HEAD}{ROW},{ANNA['name']}\n"),
    "no JSON": lambda f: _ndjson(f, '{"id": "' + ANNA["id"] + '", "email": ' + ANNA["email"]),
    "JSON of another kind": lambda f: _ndjson(f, f'{{"id": {{"{ANNA["email"]}": 1}}}}\n'),
    "nested columns": _nested,
    "no Parquet": lambda f: _bytes(f, ROW, "given/source.parquet"),
}
PLAIN = """\
project: redteam
controller: Corner Shop AB
source:
  url: {url}
  {more}
  columns: {{customer_id: id, email: email, phone: phone, consent: consent}}
guards: {{minimum_members: off}}
destinations:
  webhook-se:
    connector: webhook
    base_url: {partner}/webhook/shop
    recipient_name: Partner GmbH
    recipient_country: DE
    minimum_audience: 0
    identifiers: {{email: email/plain, phone: phone/e164}}
    secret: ${{WEBHOOK_SECRET}}
audiences:
  everyone: {{destinations: [webhook-se]{where}}}
"""


def _read(attack: Attack, url: str, more: str = "", where: str = "") -> list[int]:
    text = PLAIN.format(url=url, more=more, where=where, partner=attack.target.url)
    attack.target.project.write_text(text)
    return [attack.run("check").code, attack.run("plan", "everyone", "--debug").code]


def test_sources_that_cannot_be_read_are_told_without_their_rows(attack: Attack) -> None:
    """Files of every form, damaged in every way."""
    refused = 0
    for write in SOURCES.values():
        refused += any(_read(attack, write(attack.target.folder)))
    assert refused >= len(SOURCES) // 2  # the others leave rows out, and count them
    assert attack.hits() == []


def test_a_database_that_fails_on_a_row_is_told_without_it(
    attack: Attack, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL names the value that it could not read; we do not."""
    with psycopg.connect(postgresql_url.replace("+psycopg", "")) as shop:
        shop.execute("CREATE TABLE people (id text, email text, phone text, consent text)")
        with shop.cursor() as rows:
            rows.executemany(
                "INSERT INTO people VALUES (%s, %s, %s, 'granted')",
                [(one["id"], one["email"], one["phone"]) for one in (ANNA, BO)],
            )
    address = postgresql_url.replace("//tests@", f"//tests:{PASSWORD}@")
    monkeypatch.setenv("SHOP_URL", address)
    url, table = "${SHOP_URL}", "table: people"
    assert not any(_read(attack, url, table))
    wheres = ("email::int > 3", "1 / (length(id) - length(id)) > 0", f"name = '{ANNA['name']}'")
    for where in wheres:
        assert any(_read(attack, url, table, f', where: "{where}"'))
    query = "query: SELECT id, email, phone, email::date AS consent FROM people"
    assert any(_read(attack, url, query))
    monkeypatch.setenv("SHOP_URL", f"{address}_of_nobody")
    assert any(_read(attack, url, table))
    assert attack.hits() == []
