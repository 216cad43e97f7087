"""What `audience-sync sandbox` prints is what a destination needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from shop import PATIENCE, Shop

from audience_sync.cli.serve import _ready, sandbox
from audience_sync.plugins import installed_connectors
from audience_sync.sandbox import SandboxOptions
from audience_sync.sandbox.access import accesses

ACCOUNTS: dict[str, dict[str, object]] = {
    "meta": {"ad_account_id": "1234567890"},
    "google": {"operating_account": "1234567890"},
    "tiktok": {"advertiser_id": "7000000000000000001"},
    "snapchat": {"ad_account_id": "422ef6f5-0000-4000-8000-000000000001"},
    "pinterest": {"ad_account_id": "549756359984"},
    "x": {"account_id": "18ce54d4x5t"},
    "webhook": {
        "recipient_name": "Partner GmbH",
        "recipient_country": "DE",
        "minimum_audience": 0,
        "identifiers": {"email": "email/plain"},
    },
}
ROOM = 80  # columns
OPEN = ("client_id", "app_id", "token_url")  # everything else is a secret


def _settings(shop: Shop) -> dict[str, dict[str, object]]:
    """A destination at each partner that takes audiences, secrets in files."""
    found: dict[str, dict[str, object]] = {}
    for access in accesses(shop.url):
        if access.connector not in ACCOUNTS:
            continue
        found[access.connector] = {
            "connector": access.connector,
            "base_url": access.base_url,
            **ACCOUNTS[access.connector],
            **{
                name: text if name in OPEN else _kept(shop.folder, access.connector, name, text)
                for name, text in access.settings.items()
            },
        }
    return found


def _kept(folder: Path, connector: str, name: str, text: str) -> str:
    secret = folder / f"secrets/{connector}-{name}"
    if "://" in text:  # where the secret is made
        text = requests.get(text[text.index("http") :], timeout=PATIENCE).text
    secret.write_text(text)
    secret.chmod(0o600)
    return f"file:secrets/{secret.name}"


def test_every_partner_takes_what_the_sandbox_says(open_shop: Callable[..., Shop]) -> None:
    """Copied into a project, each destination is in order and can be synced."""
    shop = open_shop()
    settings = _settings(shop)
    head, _, _ = shop.project.read_text().partition("destinations:\n")
    audiences = {"everyone": {"destinations": list(settings)}}
    shop.project.write_text(
        f"{head}destinations: {json.dumps(settings)}\naudiences: {json.dumps(audiences)}\n"
    )

    shop.must("check")
    outcomes = shop.must("sync", "--json").json["outcomes"]

    assert {
        one["destination"]: one["run"]["delta"]["additions"] for one in outcomes
    } == dict.fromkeys(settings, 24)
    told = shop.must("check").out
    assert told.count("1 list there") == len(settings)
    assert max(len(line.rstrip()) for line in told.splitlines()) <= ROOM


def test_no_partner_is_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    """A connector that comes with us has a simulated partner, and its address is printed."""
    url = "http://127.0.0.1:8600"
    assert {access.connector for access in accesses(url)} == set(installed_connectors().connectors)
    _ready(url)
    told = capsys.readouterr().out
    assert all(f"{url}/{connector}" in told for connector in installed_connectors().connectors)
    assert max(map(len, told.splitlines())) <= 90


def test_a_refused_removal_can_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the command line, too, so that what `on_refused_removal` says can be seen beforehand."""
    given: list[SandboxOptions] = []
    monkeypatch.setattr("audience_sync.sandbox.run", lambda *asked: given.append(asked[2]))
    sandbox(strict_minimum=True)
    sandbox()
    assert [options.tiktok_strict_minimum for options in given] == [True, False]
