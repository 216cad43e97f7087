"""The connectors that are installed: found by entry point, imported when one is asked for."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from audience_sync.connector import (
    Connector,
    ConnectorSettings,
    Kind,
    Limits,
    Recipient,
    known_forms,
)

GROUP = "audience_sync.connectors"
PACKAGE = "audience-sync"  # whose own connectors no other package can take the place of

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_COUNTRY = re.compile(r"[A-Z]{2}")

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

    def __init__(
        self, points: Mapping[str, Sequence[EntryPoint]], refused: Mapping[str, str]
    ) -> None:
        self._points = points
        self._refused = refused
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
        found = {name: why for name, why in looked.items() if isinstance(why, str)}
        return found | dict(self._refused)

    def why(self, name: str) -> str | None:
        """What is wrong with a connector that is installed; imports no other."""
        found = self._look(name) if name in self._points else None
        return found if isinstance(found, str) else None

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
    points: dict[str, list[EntryPoint]] = {}
    refused: dict[str, str] = {}
    for name, found in sorted(_by_name().items()):
        if len(found) == 1:  # whose it is stands in another file, which costs time to read
            points[name] = found
            continue
        ours = [point for point in found if _package(point) == PACKAGE]
        points[name] = ours or found
        for point in found if ours else ():
            if point not in ours:
                refused[f"{name} of {_package(point)}"] = (
                    f"audience-sync has a connector {name} of its own, which is used; give this "
                    f"one another name, or uninstall {_package(point)}"
                )
    return Installed(connectors=Connectors(points, refused), names=tuple(points))


def _package(point: EntryPoint) -> str:
    """The name of the package that provides it, as far as it is known."""
    package = getattr(point, "dist", None)
    return str(package.name) if package is not None else point.module


def _only(points: Sequence[EntryPoint]) -> type[Connector[Any]] | str:
    """The connector class that one package provides, or what is wrong."""
    if len(points) > 1:
        told = sorted(f"{_package(point)} ({point.value})" for point in points)
        return f"two packages provide it, {' and '.join(told)}; uninstall one"
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
        # What it prints must not get into a document that somebody else reads.
        with redirect_stdout(sys.stderr):
            found = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's module may raise anything
        reason = f": {error}" if isinstance(error, ImportError) else ""
        told = f"cannot be imported ({type(error).__name__}{reason})"
        return f"{point.value} {told}; reinstall {_package(point)}, or uninstall it"
    return _wrong(found, point) or found


def _wrong(found: Any, point: EntryPoint) -> str | None:
    """The first promise of the plugin interface that a class does not keep."""
    if not _NAME.fullmatch(point.name):
        return "a connector's name has small letters, digits, hyphens and underscores only"
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
    told = _wrong_values(found) or _wrong_settings(found)
    return None if told is None else f"{point.value} {told}"


def _wrong_values(found: type[Connector[Any]]) -> str | None:
    """The first declaration of a class that cannot be meant."""
    if not all(isinstance(kind, Kind) for kind in found.forms):
        return "declares forms for something that is not a Kind"
    for kind, form in found.forms.items():
        if form not in known_forms(kind):
            known = ", ".join(known_forms(kind))
            return f"declares {form} for {kind.value}, which does not exist; there are {known}"
    limits = found.limits
    if not all(
        isinstance(number, int) and number > 0
        for number in (limits.members_per_request, limits.parallel_uploads)
    ):
        return "declares limits that no batch can keep to; make them positive"
    if not (found.recipient.name and _COUNTRY.fullmatch(found.recipient.country)):
        return "declares a recipient without a name or an ISO 3166 country such as IE"
    return None


def _wrong_settings(found: type[Connector[Any]]) -> str | None:
    settings = getattr(found, "settings_class", None)
    if not (inspect.isclass(settings) and issubclass(settings, ConnectorSettings)):
        return "needs a ConnectorSettings class"
    if (problem := _indescribable(settings)) is not None:
        return f"has settings that no schema can describe ({problem})"
    if found.lists_in and found.lists_in not in settings.model_fields:
        return f"declares lists_in = {found.lists_in!r}, which is none of its settings"
    return None


@cache
def _indescribable(settings: type[ConnectorSettings]) -> str | None:
    """What a schema of the settings fails with; a class stays as it is, so it is asked once."""
    try:
        settings.model_json_schema()
    except Exception as error:  # noqa: BLE001 - a field of a stranger's may be anything
        return type(error).__name__
    return None
