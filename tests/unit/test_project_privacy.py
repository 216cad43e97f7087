"""`retention`, `approval`, `records`, `acknowledged` and `report_threshold` in the project file."""

from __future__ import annotations

from pathlib import Path

import pytest

from audience_sync.errors import ConfigurationError
from audience_sync.period import Period
from audience_sync.plugins import installed_connectors
from audience_sync.project import Project, load_project

PROJECT = """\
project: shop
controller: Shop AB
source:
  url: customers.csv
  columns: {customer_id: id, email: email, consent: consent}
destinations:
  meta-se: {connector: meta, base_url: "http://127.0.0.1:1", ad_account_id: "1", access_token: $T}
audiences:
  everyone: {destinations: [meta-se]MORE}
"""


def load(folder: Path, more: str = "", audience: str = "") -> Project:
    path = folder / "audience-sync.yaml"
    written = PROJECT.replace("$T", '"${T}"').replace("MORE", audience)
    path.write_text(written + more)
    return load_project(path, installed_connectors().connectors, {"T": "t"})


def test_what_is_not_written_has_a_default_that_protects(tmp_path: Path) -> None:
    """A year for what proves, days for what only helps; small numbers are not shown."""
    project = load(tmp_path)
    assert project.retention.transfer_log == Period(1, "year")
    assert project.retention.outboxes == Period(14, "day")
    assert project.report_threshold == 10
    assert not project.approval.two_people
    assert project.records.legal_basis.startswith("consent")
    assert project.audiences["everyone"].acknowledged == {}


def test_what_is_written_counts(tmp_path: Path) -> None:
    """Each in its own section."""
    project = load(
        tmp_path,
        "retention: {runs: 6 months}\napproval: {two_people: true}\nreport_threshold: off\n"
        "records: {contact: privacy@shop.example}\n",
        ", acknowledged: {health: gym shoes}",
    )
    assert project.retention.runs == Period(6, "month")
    assert project.retention.transfer_log == Period(1, "year")
    assert project.approval.two_people
    assert project.report_threshold is None
    assert project.records.contact == "privacy@shop.example"
    assert project.audiences["everyone"].acknowledged == {"health": "gym shoes"}


@pytest.mark.parametrize(
    ("more", "finding"),
    [
        ("retention: {runs: never}\n", "retention.runs"),
        ("retention: {run: 1 year}\n", "unknown key; did you mean runs?"),
        ('approval: {two_people: "yes"}\n', "approval.two_people"),
        ("report_threshold: -1\n", "report_threshold"),
        ("records: {contact: ''}\n", "records.contact"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(tmp_path: Path, more: str, finding: str) -> None:
    """As everywhere in the project file."""
    with pytest.raises(ConfigurationError, match=finding.replace("?", r"\?")):
        load(tmp_path, more)


def test_only_known_categories_are_acknowledged(tmp_path: Path) -> None:
    """Another word would silence nothing."""
    with pytest.raises(ConfigurationError, match="acknowledged"):
        load(tmp_path, audience=", acknowledged: {wealth: no}")
