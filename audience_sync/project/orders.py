"""Which destinations are told of orders, and what their partners need of each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from audience_sync.connector import Connector, OrderConnector
from audience_sync.period import Period
from audience_sync.project.document import Findings
from audience_sync.project.model import ORDERS, Audience, Destination
from audience_sync.project.sections import OrdersSection
from audience_sync.project.wording import nearest

_LONGEST_MONTH = 31  # days

Installed = Mapping[str, type[Connector[Any]]]


def check_orders(
    section: OrdersSection,
    destinations: Mapping[str, Destination],
    audiences: Mapping[str, Audience],
    connectors: Installed,
    findings: Findings,
) -> None:
    """Every destination takes orders, and has the columns that its partner needs."""
    if ORDERS in audiences:
        findings.add(("audiences", ORDERS), "this name stands for `orders:`; choose another")
    if len(set(section.destinations)) < len(section.destinations):
        findings.add((ORDERS, "destinations"), "name each destination once")
    if section.columns.currency is None and section.currency is None:
        findings.add((ORDERS,), "map columns.currency, or write currency: and its ISO 4217 code")
    for at, name in enumerate(section.destinations):
        place = (ORDERS, "destinations", at)
        found = destinations.get(name)
        if found is None:
            if not findings.concern(("destinations", name)):
                findings.add(place, f"{name} is not defined; {nearest(name, destinations)}")
            continue
        connector = connectors[found.connector]
        if not issubclass(connector, OrderConnector):
            findings.add(place, f"{name} takes audiences, not orders; take it out")
            continue
        for column in connector.needs_of(found.settings):
            if getattr(section.columns, column, None) is None:
                findings.add(
                    (ORDERS, "columns"), f"{name} needs {column}; map {column}: their_column"
                )


def window_of(period: Period) -> timedelta:
    """The time in which an order may change; a month has as many days as a month can have."""
    return timedelta(days=period.days + period.months * _LONGEST_MONTH)
