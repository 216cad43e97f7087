"""`connectors`: what each can do, all about one, and a package for the next."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import audience_sync.plugins
from audience_sync.cli.start import run
from audience_sync.plugins import GROUP
from audience_sync.testing import scaffold
from audience_sync.testing.scaffold import write_plugin

INSTALLED = {
    "google": "connectors.google:GoogleConnector",
    "meta": "connectors.meta:MetaConnector",
    "rakuten": "connectors.rakuten:RakutenConnector",
    "webhook": "connectors.webhook:WebhookConnector",
    "lost": "no_such_package:Connector",
}


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(EntryPoint(name, value, GROUP) for name, value in INSTALLED.items())
    monkeypatch.setattr(audience_sync.plugins, "entry_points", lambda **_: points)
    monkeypatch.setenv("COLUMNS", "80")


def _said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert run(words) == code
    told = capsys.readouterr()
    return told.out + told.err


def test_the_table_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Kinds and forms, operations, limits, minimum, consent and what is read, within 80 columns."""
    told = _said(capsys, "connectors")
    lines = told.splitlines()
    assert max(map(len, lines[: lines.index("")])) <= 80
    [meta] = [line.split() for line in lines if line.startswith("meta")]
    assert meta == ["meta", "email/plain", "add", "10,000", "members", "*", "-", "size"]
    assert "match rate" in told
    assert "withdraw" in told
    [rakuten] = [line.split() for line in lines if line.startswith("rakuten")]
    assert rakuten[:3] == ["rakuten", "orders", "report"]
    assert "✗ lost  no_such_package:Connector cannot be imported" in told


def test_the_same_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON document; what a destination sets for itself is named."""
    told = json.loads(_said(capsys, "connectors", "--json"))
    assert told["broken"].keys() == {"lost"}
    google, webhook = told["connectors"]["google"], told["connectors"]["webhook"]
    assert google["forms"]["email"] == "email/gmail-folded"
    assert google["operations"] == ["add", "remove", "delete"]
    assert webhook["operations"] == ["add", "remove"]
    assert google["reads"] == ["size", "match rate"]
    assert google["needs_consent_signal"] is True
    assert google["minimum_audience"] == 100
    assert google["limits"]["members_per_request"] == 10_000
    assert webhook["limits"]["bytes_per_request"] == 1_000_000
    assert webhook["reads"] == []
    assert webhook["set_by_destination"] == ["forms", "limits", "minimum_audience", "recipient"]
    assert told["connectors"]["rakuten"]["operations"] == ["report"]


def test_all_about_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Who receives and which settings there are; a broken or unknown one says why."""
    assert "Meta Platforms Ireland Limited, IE" in _said(capsys, "connectors", "show", "meta")
    told = json.loads(_said(capsys, "connectors", "show", "meta", "--json"))
    assert "access_token" in told["settings"]
    assert "left out: no_such_package" in _said(capsys, "connectors", "show", "lost", code=2)
    assert "there are google, meta" in _said(capsys, "connectors", "show", "acme", code=2)


def test_a_package_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every placeholder is filled in, in names of files too, and the next steps are told."""
    told = _said(capsys, "connectors", "new", "acme-ads", "--into", str(tmp_path / "plugins"))
    folder = tmp_path / "plugins/audience-sync-acme-ads"
    assert f"python -m pytest {folder}" in told
    assert f"python -m pip install -e '{folder}[test]'" in told
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        ".gitignore",
        "README.md",
        "audience_sync_acme_ads/__init__.py",
        "audience_sync_acme_ads/connector.py",
        "audience_sync_acme_ads/sandbox.py",
        "pyproject.toml",
        "tests/test_contract.py",
        "tests/test_requests.py",
    }
    text = "".join((folder / name).read_text() for name in files)
    assert not [word for word in scaffold._words("acme-ads") if word in text]
    assert "class AcmeAdsConnector(Connector[AcmeAdsSettings])" in text
    assert 'acme-ads = "audience_sync_acme_ads.connector:AcmeAdsConnector"' in text
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    "name",
    ["", "Acme", "9gag", "acme_ads", "acme-", "-acme", "a--b", "../acme", "acme/x", "a" * 41],
)
def test_a_name_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It would be no connector's name, or no folder's; nothing is written."""
    told = _said(capsys, "connectors", "new", "--into", str(tmp_path), "--", name, code=2)
    assert "small letters" in told
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a folder that is there nor a connector that is installed."""
    there = tmp_path / "audience-sync-acme"
    there.mkdir()
    told = _said(capsys, "connectors", "new", "acme", "--into", str(tmp_path), code=2)
    assert "exists already" in told
    assert not list(there.iterdir())
    told = _said(capsys, "connectors", "new", "meta", "--into", str(tmp_path), code=2)
    assert "installed already" in told


def test_half_a_package_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full half-way leaves no folder behind that looks whole."""
    written: list[str] = []

    def filled(text: str, words: dict[str, str]) -> str:
        written.append(text)
        if len(written) > 5:
            raise OSError(28, "No space left on device")
        return text

    monkeypatch.setattr(scaffold, "_filled", filled)
    with pytest.raises(Exception, match="No space left"):
        write_plugin("acme", tmp_path)
    assert not list(tmp_path.iterdir())
