"""The JSON Schema of the project file."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from audience_sync.project import project_schema
from audience_sync.project.schema import DIALECT
from audience_sync.testing.project_template import commented_project
from connectors.google import GoogleConnector
from connectors.meta import MetaConnector


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return project_schema({"meta": MetaConnector, "google": GoogleConnector})


def test_it_is_json_of_the_2020_draft(schema: dict[str, Any]) -> None:
    """An editor reads the dialect from the document."""
    assert json.loads(json.dumps(schema))["$schema"] == DIALECT
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"project", "controller", "source"}


def test_every_reference_in_it_leads_somewhere(schema: dict[str, Any]) -> None:
    """No editor stumbles over a dangling reference."""

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            below = [found for child in part.values() for found in references(child)]
            return below + ([part["$ref"]] if isinstance(part.get("$ref"), str) else [])
        return (
            [found for child in part for found in references(child)]
            if isinstance(part, list)
            else []
        )

    named = {reference.removeprefix("#/$defs/") for reference in references(schema)}
    assert named
    assert named <= schema["$defs"].keys()


def test_each_connector_brings_its_settings(schema: dict[str, Any]) -> None:
    """A destination's keys depend on its connector."""
    branches = schema["properties"]["destinations"]["additionalProperties"]["allOf"]
    by_name = {b["if"]["properties"]["connector"]["const"]: b["then"] for b in branches}
    assert by_name.keys() == {"meta", "google"}
    assert "ad_account_id" in by_name["meta"]["required"]
    assert "credentials" in by_name["google"]["properties"]


def test_a_secret_is_described_by_how_it_is_referred_to(schema: dict[str, Any]) -> None:
    """The schema accepts `${VARIABLE}` and `file:` where the loader does."""
    branches = schema["properties"]["destinations"]["additionalProperties"]["allOf"]
    meta = next(b["then"] for b in branches if "ad_account_id" in b["then"]["properties"])
    assert "file:" in meta["properties"]["access_token"]["pattern"]
    assert "password" not in json.dumps(meta)


def test_every_key_of_the_commented_project_has_a_description(schema: dict[str, Any]) -> None:
    """An editor explains each key that `init` writes."""
    written = yaml.safe_load(commented_project())
    assert written.keys() <= schema["properties"].keys()
    for section, name in (
        ("policy", "Policy"),
        ("guards", "Guards"),
        ("source", "Source"),
    ):
        described = schema["$defs"][name]["properties"]
        for key in written[section]:
            assert described[key]["description"], key
