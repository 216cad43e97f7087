"""`check` tells of a destination that is reached over a network that everybody can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from audience_sync.app import App
from audience_sync.app.checks import Checks

PROJECT = """\
project: address-test
controller: Address Test AB
source:
  url: customers.csv
  columns: {{customer_id: id, email: email, consent: consent}}
destinations:
  meta-se:
    connector: meta
    base_url: "{url}"
    ad_account_id: "1234567890"
    access_token: file:token
audiences:
  everyone: {{destinations: [meta-se]}}
"""


def told(folder: Path, url: str) -> list[str]:
    """What is doubtful about the address."""
    (folder / "token").write_text("made-up-token")
    (folder / "customers.csv").write_text("id,email,consent\n1,p1@example.com,granted\n")
    path = folder / "audience-sync.yaml"
    path.write_text(PROJECT.format(url=url))
    with App.open(path) as app:
        found = [one for one in app.check() if one.subject == "address meta-se"]
    assert all(one.warns and one.error is None for one in found)
    return [one.detail for one in found]


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No partner is asked."""
    monkeypatch.setattr(Checks, "_destination", lambda _self, name: name)


@pytest.mark.parametrize("url", ["http://graph.example", "HTTP://10.0.0.7:8600/meta"])
def test_an_address_in_the_clear_is_doubtful(tmp_path: Path, url: str) -> None:
    """Hashed addresses and the token would travel for everybody to read."""
    [detail] = told(tmp_path, url)
    assert "write https://" in detail


@pytest.mark.parametrize(
    "url",
    [
        "https://graph.example",
        "http://127.0.0.1:8600/meta",
        "http://[::1]:8600/meta",
        "http://LocalHost:8600",
    ],
)
def test_an_address_that_nobody_reads_is_in_order(tmp_path: Path, url: str) -> None:
    """TLS, or a simulated partner on this machine."""
    assert told(tmp_path, url) == []
