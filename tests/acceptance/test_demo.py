"""`make demo` in small: the story runs to its end, twice, and leaves a project behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from audience_sync.cli.start import run


def test_the_demonstration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Partners hold what we believe, and a second demonstration does not touch the first."""
    monkeypatch.chdir(tmp_path)
    assert run(["demo", "--customers", "12000", "--no-stay"]) == 0
    told = capsys.readouterr().out
    assert told.count("the same") == 6
    assert "different" not in told
    assert "none changed, deleted or inserted" in told
    project = tmp_path / "demo/audience-sync.yaml"
    written = project.read_text()
    (tmp_path / "demo-2").mkdir()
    assert run(["demo", "--customers", "12000", "--no-stay"]) == 0
    assert project.read_text() == written
    assert (tmp_path / "demo-3/audience-sync.yaml").exists()
    assert run(["--project", str(tmp_path / "demo"), "status"]) == 0
