"""The project's `orders:` turned into what planning reports works with."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from itertools import islice
from typing import Any

from audience_sync.connector import Connector, OrderConnector
from audience_sync.customers.orders import OrdersDescription, open_orders
from audience_sync.errors import ConfigurationError, SourceError
from audience_sync.membership.guard import GuardLimits
from audience_sync.project import ORDERS, OrderReports, Project
from audience_sync.runs.orders.plan import Reporting
from audience_sync.runs.targets import Target

_FEW = 1_000  # lines that a check looks at

Connectors = Mapping[str, type[Connector[Any]]]


def reporting_of(project: Project, connectors: Connectors) -> Reporting:
    """Where the orders are, how they are written, and what each destination needs of them."""
    reports = _reports(project)
    lines = reports.lines
    return Reporting(
        source=OrdersDescription(
            url=lines.url.get_secret_value(),
            columns=lines.columns.mapped,
            base=project.path.parent,
            query=lines.query,
            table=lines.table,
            in_minor_units=lines.amounts == "minor",
            currency=lines.currency,
            taken_back=tuple(word.strip().lower() for word in lines.taken_back),
        ),
        window=reports.window,
        needs={name: _needs(project, connectors, name) for name in reports.destinations},
    )


def order_targets(
    project: Project, connectors: Connectors, destination: str | None
) -> list[Target]:
    """The destinations that are told of orders: all, or the one named."""
    reports = _reports(project)
    guards = reports.guards
    return [
        Target(
            audience=ORDERS,
            destination=name,
            partner=project.destinations[name].connector,
            where=None,
            forms={},
            batch_size=_connector(project, connectors, name)
            .limits_of(project.destinations[name].settings)
            .members_per_request,
            most_identifiers=1,
            guards=GuardLimits(
                minimum_members=None,
                maximum_removals=guards.maximum_removals,
                maximum_growth=guards.maximum_growth,
                maximum_source_drop=guards.maximum_source_drop,
                maximum_unusable=guards.maximum_unusable,
                maximum_consent_drop=guards.maximum_consent_drop,
            ),
        )
        for name in reports.destinations
        if destination in (None, name)
    ]


def _reports(project: Project) -> OrderReports:
    if project.orders is None:
        raise ConfigurationError(f"{project.path.name} has no orders; write them under `orders:`")
    return project.orders


def _connector(
    project: Project, connectors: Connectors, destination: str
) -> type[OrderConnector[Any]]:
    found = connectors[project.destinations[destination].connector]
    if not issubclass(found, OrderConnector):
        raise ConfigurationError(f"{destination} takes no orders; take it out of `orders:`")
    return found


def _needs(project: Project, connectors: Connectors, destination: str) -> tuple[str, ...]:
    connector = _connector(project, connectors, destination)
    return connector.needs_of(project.destinations[destination].settings)


def look_at_orders(project: Project, connectors: Connectors) -> str:
    """The order lines can be read, and the first of them are as the project says."""
    source = open_orders(reporting_of(project, connectors).source)
    with closing(source.batches(_FEW)) as frames:
        for frame in islice(frames, 1):
            readable = int(frame["readable"].sum())
            if not readable and frame.height:
                raise SourceError(
                    f"none of the first {frame.height:,} order lines can be read; check the "
                    "columns, `amounts:` and the currency under `orders:`"
                )
            if readable < frame.height:
                bad = frame.height - readable
                return f"{bad:,} of the first {frame.height:,} lines cannot be read"
    rows = source.count()
    return "readable" if rows is None else f"about {rows:,} lines"
