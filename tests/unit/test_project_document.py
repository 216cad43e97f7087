"""A project file is read the same by the quick parser and by the patient one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audience_sync.errors import ConfigurationError
from audience_sync.project import document
from audience_sync.project.document import Place, read_document
from audience_sync.testing.project_template import commented_project

TEXTS = (
    commented_project(),
    "a: &x [no, '1', 1, 1.5]\nb: *x\nc: {d: , e: null, ? f : \"g\"}\n",
    "# first\n\na: |\n  x\n  y\nb: >-\n  t\n\n'c': !secret 3\n",
    "a: 1\nb: 2\na: 3\n",
    "a: 'q'\nåäö: ☃\n- 1",
    "a: b: c",
    "a: [1,\n 2",
    "- 1\n- 2\n",
)


def _read(path: Path, text: str) -> tuple[Any, dict[Place, int], str] | str:
    path.write_text(text, encoding="utf-8")
    try:
        values, findings = read_document(path)
    except ConfigurationError as error:
        return str(error)
    return values, findings.lines, findings.told()


@pytest.mark.parametrize("text", TEXTS)
def test_both_parsers_read_the_same(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, lines, findings, and the sentence about what is no YAML."""
    quick = _read(tmp_path / "project.yaml", text)
    monkeypatch.setattr(document, "_QUICK", 0)
    assert _read(tmp_path / "project.yaml", text) == quick


def test_a_file_that_is_nested_as_deep_as_it_is_long_is_refused(tmp_path: Path) -> None:
    """In a sentence, by whichever parser."""
    half = document._QUICK // 2 - 10
    told = _read(tmp_path / "project.yaml", "a: " + "[" * half + "]" * half)
    assert told == ("project.yaml:1: aliases unfold without end here; write the values out")
