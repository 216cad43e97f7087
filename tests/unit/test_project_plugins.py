"""Connectors that are found by entry point."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

import audience_sync.plugins
from audience_sync.plugins import GROUP, connector_names, installed_connectors


def install(monkeypatch: pytest.MonkeyPatch, **points: str | tuple[str, ...]) -> None:
    """Pretend that these entry points, and no others, are installed."""
    listed = [
        EntryPoint(name, target, GROUP)
        for name, targets in points.items()
        for target in ((targets,) if isinstance(targets, str) else targets)
    ]
    monkeypatch.setattr(
        audience_sync.plugins, "entry_points", lambda group: EntryPoints(listed).select(group=group)
    )


def test_a_broken_plugin_is_named_and_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others work, and the operator reads what is wrong with each."""
    install(
        monkeypatch,
        meta="connectors.meta:MetaConnector",
        lost="no_such_package:Connector",
        other="connectors.meta:MetaConnector",
        wrong="connectors.meta:MetaSettings",
        abstract="audience_sync.connector:Connector",
    )
    found = installed_connectors()
    assert found.connectors.keys() == {"meta"}
    assert found.broken.keys() == {"lost", "other", "wrong", "abstract"}
    assert "no_such_package" in found.broken["lost"]
    assert "name = 'other'" in found.broken["other"]
    assert "is not a Connector" in found.broken["wrong"]
    assert "does not implement" in found.broken["abstract"]


def test_two_packages_for_one_name_are_both_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one would win is nobody's guess."""
    install(
        monkeypatch,
        meta=("connectors.meta:MetaConnector", "other.meta:MetaConnector"),
        google="connectors.google:GoogleConnector",
    )
    found = installed_connectors()
    assert found.connectors.keys() == {"google"}
    assert "two packages" in found.broken["meta"]


def test_one_plugin_that_is_listed_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout that is also installed lists itself twice."""
    target = "connectors.meta:MetaConnector"
    install(monkeypatch, meta=(target, target))
    assert installed_connectors().connectors.keys() == {"meta"}


def test_listing_names_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that is merely named has not run any code."""
    install(monkeypatch, lost="antigravity:Connector", meta="connectors.meta:MetaConnector")
    sys.modules.pop("antigravity", None)
    assert connector_names() == ["lost", "meta"]
    assert "antigravity" not in sys.modules


def test_a_project_imports_only_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that nobody uses runs no code, and a broken one that nobody uses hurts nobody."""
    install(monkeypatch, lost="antigravity:Connector", meta="connectors.meta:MetaConnector")
    sys.modules.pop("antigravity", None)
    found = installed_connectors()
    assert found.names == ("lost", "meta")
    assert found.connectors["meta"].name == "meta"
    assert "nobody" not in found.connectors
    assert "antigravity" not in sys.modules
