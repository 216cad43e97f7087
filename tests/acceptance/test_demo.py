"""`make demo` in small: the story runs to its end and leaves a project behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from redteam.search import Needles

from audience_sync.cli.start import run
from audience_sync.plugins import installed_connectors
from audience_sync.project.load import load_project
from audience_sync.testing.project_template import DEMO_DATABASE

LISTS = 17  # fourteen, of which three are at Google in two accounts
ROOM = 80  # columns
SOME = 200  # customers


def some_customers(base: Path) -> dict[str, str]:
    """Some values of the made-up customers by a name, to look for where they must not be."""
    query = f"SELECT email, phone_number, ios_ad_id, android_ad_id FROM customers LIMIT {SOME}"  # noqa: S608 - our own
    with closing(sqlite3.connect(base)) as opened:
        rows = opened.execute(query).fetchall()
    named = {f"{at} of customer {n}": v for n, row in enumerate(rows) for at, v in enumerate(row)}
    return {name: value for name, value in named.items() if value and value.strip("0-")}


def test_the_demonstration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every partner holds what we believe, after both syncs; what was there before is untouched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(ROOM))
    (tmp_path / "demo").mkdir()
    assert run(["demo", "--customers", "10000", "--no-stay"]) == 0
    told = capsys.readouterr().out
    assert told.count("exactly these") == 2 * (LISTS + 1)  # and the orders
    assert "none changed, deleted or inserted" in told
    story, _, _ = told.partition("The project stays in")  # then come commands, with their paths
    assert [line for line in story.splitlines() if len(line.rstrip()) > ROOM] == []
    assert list((tmp_path / "demo").iterdir()) == []

    left = tmp_path / "demo-2"
    needles = Needles(some_customers(left / DEMO_DATABASE))
    assert needles.hits("the story", told) == []
    assert needles.in_files(left, but=[left / DEMO_DATABASE, left / "secrets"]) == []
    project = load_project(left / "audience-sync.yaml", installed_connectors().connectors, {})
    partners = {destination.connector for destination in project.destinations.values()}
    assert partners == set(installed_connectors().connectors)
    assert run(["--project", str(left), "status"]) == 0
