"""What planning is told of a list: how much of one person its partner takes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from audience_sync.ledger.records.runs import RemoteList
from audience_sync.project import load_project
from audience_sync.targeting import retired_of, targets_of
from connectors.google import GoogleConnector

PROJECT = """
project: shop
controller: Shop AB
source:
  url: customers.csv
  columns:
    customer_id: id
    email: email
    phone: phone
    idfa: idfa
    gaid: gaid
    external_id: id
    consent: consent
destinations:
  google-se:
    connector: google
    operating_account: "1234567890"
    credentials: ${GOOGLE}
    allow_unhashed_device_ids: true
    ios_app_id: "1"
    android_app_id: com.example
    user_id_lists: true
audiences:
  vip: {destinations: [google-se]}
"""


def test_a_person_may_have_as_many_identifiers_as_the_partner_takes(tmp_path: Path) -> None:
    """Ten at Google, of whichever kinds: not two of each because there are five kinds."""
    path = tmp_path / "audience-sync.yaml"
    path.write_text(PROJECT)
    connectors = {"google": GoogleConnector}
    project = load_project(path, connectors, {"GOOGLE": "{}"})
    now = datetime(2026, 11, 22, tzinfo=UTC)
    (target,) = targets_of(project, connectors, [], None, now)
    assert len(target.forms) == 5
    assert target.most_identifiers == 10


def test_a_list_that_was_deleted_is_not_to_be_emptied(tmp_path: Path) -> None:
    """Our books may still note who left it by age, when the project no longer names it."""
    path = tmp_path / "audience-sync.yaml"
    path.write_text(PROJECT)
    connectors = {"google": GoogleConnector}
    project = load_project(path, connectors, {"GOOGLE": "{}"})
    noted = {"files": {"0": "lists/google-se/old/r1/0.sealed"}}
    lists = [
        RemoteList(audience=name, destination="google-se", remote_id=number, manifest=noted)
        for name, number in (("old", None), ("older", "1"), ("vip", "2"))
    ]
    assert [one.audience for one in retired_of(project, connectors, lists)] == ["older"]
