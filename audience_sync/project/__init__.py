"""audience-sync.yaml → a typed, frozen project; every error names file, line, key and remedy."""

from __future__ import annotations

from audience_sync.period import Period
from audience_sync.project.load import load_project
from audience_sync.project.model import (
    ORDERS,
    Audience,
    Destination,
    DestinationUse,
    OrderReports,
    Project,
)
from audience_sync.project.schema import project_schema
from audience_sync.project.sections import (
    Guards,
    Policy,
)
from audience_sync.project.source import Columns, Decisions, Source

__all__ = [
    "ORDERS",
    "Audience",
    "Columns",
    "Decisions",
    "Destination",
    "DestinationUse",
    "Guards",
    "OrderReports",
    "Period",
    "Policy",
    "Project",
    "Source",
    "load_project",
    "project_schema",
]
