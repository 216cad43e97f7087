"""The connectors that are installed: found by entry point, imported when one is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
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


class Connectors(Mapping[str, type[Connector[Any]]]):
    """The installed connectors that work, by name; asking for one imports no other.

    Who goes through them imports all, and leaves out those that are broken.
    """

    def __init__(self, points: Mapping[str, Sequence[EntryPoint]]) -> None:
        self._points = points
        self._known: dict[str, type[Connector[Any]] | str] = {}

    def __getitem__(self, name: str) -> type[Connector[Any]]:
        found = self._look(name)
        if isinstance(found, str):
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._points if not isinstance(self._look(name), str))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def broken(self) -> dict[str, str]:
        """The others, with the reason in a sentence; imports all."""
        looked = {name: self._look(name) for name in self._points}
        return {name: found for name, found in looked.items() if isinstance(found, str)}

    def _look(self, name: str) -> type[Connector[Any]] | str:
        if name not in self._known:
            self._known[name] = _only(self._points[name])
        return self._known[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """Connectors by name; `names` are those of broken ones too, and imports none."""

    connectors: Connectors
    names: tuple[str, ...]

    @property
    def broken(self) -> Mapping[str, str]:
        """The broken ones with the reason in a sentence; imports every connector."""
        return self.connectors.broken()


def connector_names() -> list[str]:
    """The names of all installed connectors; imports none of them."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def installed_connectors() -> Installed:
    """What is installed, nothing imported yet; a broken or doubled one hurts no other."""
    points = dict(sorted(_by_name().items()))
    return Installed(connectors=Connectors(points), names=tuple(points))


def _only(points: Sequence[EntryPoint]) -> type[Connector[Any]] | str:
    """The connector class that one package provides, or what is wrong."""
    if len(points) > 1:
        targets = " and ".join(sorted(point.value for point in points))
        return f"two packages provide it, {targets}; uninstall one"
    return _load(points[0])


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
