"""The table of partners in README.md says what the connectors say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audience_sync.cli.describe import describe
from audience_sync.plugins import installed_connectors

ROOT = Path(__file__).resolve().parents[2]
SECTION = "## Partners"


def _rows() -> dict[str, dict[str, str]]:
    """Each row of the table by the connector whose page it links, its cells by column."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index(SECTION) :].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        row[0].partition("docs/partners/")[2].removesuffix(".md)"): dict(
            zip(head, row, strict=True)
        )
        for row in rows
    }


def _described() -> dict[str, dict[str, Any]]:
    """What comes with audience-sync; a stranger's package has a page of its own."""
    connectors = installed_connectors().connectors
    return {
        name: describe(found)
        for name, found in connectors.items()
        if found.__module__.startswith("connectors.")
    }


def test_every_partner_has_a_row_and_a_page() -> None:
    """None is forgotten, and no page is missing."""
    pages = {path.stem for path in (ROOT / "docs/partners").glob("*.md")}
    assert set(_rows()) == set(_described()) == pages


@pytest.mark.parametrize("name", sorted(_described()))
def test_a_row_is_true(name: str) -> None:
    """The smallest audience, what is read, the consent signal, and kinds that are not taken."""
    row, says = _rows()[name], _described()[name]
    if says["forms"] and "minimum_audience" not in says["set_by_destination"]:
        assert row["smallest audience"] == f"{says['minimum_audience']:,}"
    assert (row["consent signal"] == "none") == (not says["needs_consent_signal"])
    assert (row["tells back"] == "nothing") == (not says["reads"])
    assert ("match-rate" in row["tells back"]) == ("match rate" in says["reads"])
    assert ("*unhashed*" in row["takes"]) == ("device/raw" in says["forms"].values())
    if "phone/e164" in says["forms"].values() and name != "webhook":
        assert "phone with `+`" in row["takes"]
    if "phone/digits" in says["forms"].values():
        assert "phone without `+`" in row["takes"]
