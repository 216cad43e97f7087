"""`withdrawals:` in the project file, and what a destination decides for itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pipeline_world import MemoryPartner

from audience_sync.connector import ConnectorSettings
from audience_sync.errors import ConfigurationError
from audience_sync.project import Project, load_project, project_schema
from audience_sync.runs.escalation import OnRefusedRemoval, policy_of

FILE = """\
project: corner-shop
controller: Corner Shop AB
source:
  url: customers.csv
  columns: {customer_id: id, email: email, consent: consent}
destinations:
  one: {connector: memory, base_url: "http://one"}
"""


class Deleting(MemoryPartner):
    """Whose lists can be deleted."""

    name = "deleting"

    def delete_audience(self, remote_id: str) -> None:
        """Gone."""


class OwnSettings(ConnectorSettings):
    """A plugin whose setting bears the same name."""

    on_refused_removal: int


class Stubborn(MemoryPartner):
    """A plugin that came before us."""

    name = "stubborn"
    settings_class: ClassVar[type[ConnectorSettings]] = OwnSettings


CONNECTORS: Mapping[str, Any] = {one.name: one for one in (MemoryPartner, Deleting, Stubborn)}


def load(tmp_path: Path, more: str) -> Project:
    """A project with these lines at its end."""
    path = tmp_path / "audience-sync.yaml"
    path.write_text(FILE + more)
    return load_project(path, CONNECTORS, {})


def test_a_destination_decides_for_itself(tmp_path: Path) -> None:
    """All others, and those that the project dropped, do as the project says."""
    project = load(
        tmp_path,
        """\
  two: {connector: deleting, base_url: "http://two", on_refused_removal: delete}
  three: {connector: memory, base_url: "http://three", on_refused_removal: alert}
withdrawals: {on_refused_removal: empty_and_rebuild}
""",
    )

    assert {name: policy_of(project, name) for name in ("one", "two", "three", "gone")} == {
        "one": OnRefusedRemoval.EMPTY_AND_REBUILD,
        "two": OnRefusedRemoval.DELETE,
        "three": OnRefusedRemoval.ALERT,
        "gone": OnRefusedRemoval.EMPTY_AND_REBUILD,
    }
    assert project.destinations["two"].settings == ConnectorSettings(base_url="http://two")


def test_without_a_word_somebody_is_told(tmp_path: Path) -> None:
    """Nothing is emptied or deleted that nobody decided about."""
    assert policy_of(load(tmp_path, ""), "one") is OnRefusedRemoval.ALERT


@pytest.mark.parametrize(
    ("policy", "told"),
    [("delete", "deletes no lists"), ("remove", "empty_and_rebuild"), ("yes", "empty_and_rebuild")],
)
def test_what_cannot_be_followed_is_refused(tmp_path: Path, policy: str, told: str) -> None:
    """At once, with the line, and not when the first withdrawal is refused."""
    entry = f'  two: {{connector: memory, base_url: "http://two", on_refused_removal: {policy}}}\n'
    with pytest.raises(ConfigurationError) as refused:
        load(tmp_path, entry)

    assert told in str(refused.value)
    assert "destinations.two.on_refused_removal" in str(refused.value)


def test_a_connectors_own_setting_of_the_name_stays_its_own(tmp_path: Path) -> None:
    """A plugin that worked before goes on to."""
    entry = '  two: {connector: stubborn, base_url: "http://two", on_refused_removal: 7}\n'
    project = load(tmp_path, entry)

    assert project.destinations["two"].settings.model_dump()["on_refused_removal"] == 7
    assert policy_of(project, "two") is OnRefusedRemoval.ALERT


@pytest.mark.parametrize(("hours", "minutes"), [("0.5", 30), ("1", 60), ("36.25", 2175)])
def test_a_deadline_is_any_number_of_hours(tmp_path: Path, hours: str, minutes: int) -> None:
    """Half an hour is one that somebody may have promised."""
    project = load(tmp_path, f"withdrawals: {{deadline_hours: {hours}}}\n")
    assert project.withdrawals.deadline == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("hours", "told"),
    [("0", "at least 0.1"), ("721", "at most 720"), ("true", "number"), ('"24"', "number")],
)
def test_a_deadline_that_is_none_is_refused(tmp_path: Path, hours: str, told: str) -> None:
    """Nor is less than the few minutes that workers take to look for refusals."""
    with pytest.raises(ConfigurationError, match=rf"withdrawals.deadline_hours.*{told}"):
        load(tmp_path, f"withdrawals: {{deadline_hours: {hours}}}\n")


def test_an_editor_knows_it() -> None:
    """The schema has it for each connector, with the words that may stand there."""
    schema = project_schema({"memory": MemoryPartner})
    [branch] = schema["properties"]["destinations"]["additionalProperties"]["allOf"]
    found = branch["then"]["properties"]["on_refused_removal"]

    assert {"enum": ["empty_and_rebuild", "delete", "alert"], "type": "string"} in found["anyOf"]
