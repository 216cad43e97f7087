"""`make demo` in small: the story runs to its end and leaves a project behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from audience_sync.cli.start import run
from audience_sync.plugins import installed_connectors
from audience_sync.project.load import load_project

LISTS = 17  # fourteen, of which three are at Google in two accounts
ROOM = 80  # columns


def test_the_demonstration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every partner holds what we believe, after both syncs; what was there before is untouched."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert run(["demo", "--customers", "10000", "--no-stay"]) == 0
    told = capsys.readouterr().out
    assert told.count("exactly these") == 2 * (LISTS + 1)  # and the orders
    assert "none changed, deleted or inserted" in told
    story, _, _ = told.partition("The project stays in")  # then come commands, with their paths
    assert [line for line in story.splitlines() if len(line.rstrip()) > ROOM] == []
    assert list((tmp_path / "demo").iterdir()) == []

    left = tmp_path / "demo-2"
    project = load_project(left / "audience-sync.yaml", installed_connectors().connectors, {})
    partners = {destination.connector for destination in project.destinations.values()}
    assert partners == set(installed_connectors().connectors)
    assert run(["--project", str(left), "status"]) == 0
