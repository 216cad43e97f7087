"""The connectors that are installed: found by entry point, checked, and left out when broken."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from audience_sync.connector import Connector, ConnectorSettings, Kind, Limits, Recipient

GROUP = "audience_sync.connectors"

_DECLARED: Mapping[str, type] = {
    "title": str,
    "forms": Mapping,
    "limits": Limits,
    "recipient": Recipient,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """Connectors by name, and the broken ones with the reason in a sentence."""

    connectors: Mapping[str, type[Connector[Any]]]
    broken: Mapping[str, str]


def connector_names() -> list[str]:
    """The names of all installed connectors; imports none of them."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def installed_connectors() -> Installed:
    """Every installed connector that works; a broken or doubled one hurts no other."""
    connectors: dict[str, type[Connector[Any]]] = {}
    broken: dict[str, str] = {}
    for name, points in sorted(_by_name().items()):
        if len(points) > 1:
            targets = " and ".join(sorted(point.value for point in points))
            broken[name] = f"two packages provide it, {targets}; uninstall one"
            continue
        found = _load(points[0])
        if isinstance(found, str):
            broken[name] = found
        else:
            connectors[name] = found
    return Installed(connectors=connectors, broken=broken)


def _by_name() -> dict[str, list[EntryPoint]]:
    """Entry points by name; one that is merely listed twice counts once."""
    points: dict[str, dict[str, EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        points.setdefault(point.name, {}).setdefault(point.value, point)
    return {name: list(by_target.values()) for name, by_target in points.items()}


def _load(point: EntryPoint) -> type[Connector[Any]] | str:
    """The connector class, or what is wrong with it."""
    try:
        found = point.load()
    except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything
        reason = f": {error}" if isinstance(error, ImportError) else ""
        return f"{point.value} cannot be imported ({type(error).__name__}{reason}); reinstall it"
    return _wrong(found, point) or found


def _wrong(found: Any, point: EntryPoint) -> str | None:
    """The first promise of the plugin interface that a class does not keep."""
    if not (inspect.isclass(found) and issubclass(found, Connector)):
        return f"{point.value} is not a Connector; derive it from audience_sync.connector.Connector"
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        return f"{point.value} does not implement {', '.join(missing)}"
    if getattr(found, "name", None) != point.name:
        return f"{point.value} calls itself by another name; set name = {point.name!r} in it"
    for attribute, wanted in _DECLARED.items():
        if not isinstance(getattr(found, attribute, None), wanted):
            return f"{point.value} does not declare {attribute} as a {wanted.__name__}"
    if not all(isinstance(kind, Kind) for kind in found.forms):
        return f"{point.value} declares forms for something that is not a Kind"
    return None if _has_settings(found) else f"{point.value} needs a ConnectorSettings class"


def _has_settings(found: Any) -> bool:
    settings = getattr(found, "settings_class", None)
    return inspect.isclass(settings) and issubclass(settings, ConnectorSettings)
