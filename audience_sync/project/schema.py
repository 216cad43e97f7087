"""The JSON Schema of the project file, with the settings of each connector, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from audience_sync.connector import Connector
from audience_sync.project.sections import ProjectFile
from audience_sync.project.values import NAME_PATTERN
from audience_sync.project.withdrawals import DestinationPolicy

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFERENCE_PATTERN = r"^(\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:.+)$"

_VALIDATION: JsonSchemaMode = "validation"


def project_schema(connectors: Mapping[str, type[Connector[Any]]]) -> dict[str, Any]:
    """A draft 2020-12 schema; a secret is described by how it is referred to."""
    models: list[type[BaseModel]] = [ProjectFile, *(c.settings_class for c in connectors.values())]
    references, shared = models_json_schema(
        [(model, _VALIDATION) for model in dict.fromkeys(models)]
    )
    definitions: dict[str, Any] = shared["$defs"]
    top = _resolved(references[ProjectFile, _VALIDATION], definitions)
    top["properties"]["destinations"] |= {
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": {
            "type": "object",
            "required": ["connector"],
            "properties": {"connector": {"enum": sorted(connectors)}},
            "allOf": [
                _destination(connector, references[connector.settings_class, _VALIDATION], shared)
                for _, connector in sorted(connectors.items())
            ],
        },
    }
    top["properties"]["audiences"]["propertyNames"] = {"pattern": NAME_PATTERN}
    whole = {**top, "$defs": definitions}
    return {"$schema": DIALECT, **_by_reference(whole)}


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema itself instead of a reference to it."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return dict(definitions.get(name, schema))


def _destination(
    connector: type[Connector[Any]], reference: dict[str, Any], shared: dict[str, Any]
) -> dict[str, Any]:
    """What a destination of one connector may hold besides the connector's name."""
    settings = _resolved(reference, shared["$defs"])
    name = {"const": connector.name, "description": connector.title}
    own = DestinationPolicy.model_json_schema(mode=_VALIDATION)["properties"]
    settings["properties"] = {"connector": name, **own, **settings.get("properties", {})}
    return {
        "if": {"properties": {"connector": {"const": connector.name}}},
        "then": settings,
    }


def _by_reference(schema: Any) -> Any:
    """Describe secrets as references, and leave their defaults out."""
    if isinstance(schema, list):
        return [_by_reference(child) for child in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _by_reference(child) for key, child in schema.items()}
    if found.get("format") == "password":
        kept = {key: found[key] for key in ("title", "description") if key in found}
        return {**kept, "type": "string", "pattern": REFERENCE_PATTERN}
    return found
