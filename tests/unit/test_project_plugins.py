"""Connectors that are found by entry point."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from pipeline_world import MemoryPartner

import audience_sync.plugins
from audience_sync.connector import ConnectorSettings, Kind, Limits, Recipient
from audience_sync.errors import ConfigurationError
from audience_sync.plugins import GROUP, connector_names, installed_connectors
from audience_sync.project import load_project


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


class ToyConnector(MemoryPartner):
    name = "toy"


def told_of(monkeypatch: pytest.MonkeyPatch, found: Any) -> str:
    """What is said of a plugin whose entry point leads to this."""
    install(monkeypatch, toy="somewhere:ToyConnector")
    monkeypatch.setattr(EntryPoint, "load", lambda _: found)
    return str(installed_connectors().broken.get("toy"))


class Misspelt(ToyConnector):
    forms: ClassVar[dict[Kind, str]] = {Kind.EMAIL: "email/plian"}


class Misplaced(ToyConnector):
    forms: ClassVar[dict[Kind, str]] = {Kind.EMAIL: "phone/e164"}


class Boundless(ToyConnector):
    limits = Limits(members_per_request=0)


class Nowhere(ToyConnector):
    recipient = Recipient(name="Toy Ltd", country="Ireland")


class Elsewhere(ToyConnector):
    lists_in = "acount_id"


class OddSettings(ConnectorSettings):
    call: Any = None
    kind: type[SimpleNamespace] = SimpleNamespace


class Odd(ToyConnector):
    settings_class = OddSettings


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Misspelt, "email/plian for email, which does not exist; there are email/plain"),
        (Misplaced, "phone/e164 for email"),
        (Boundless, "make them positive"),
        (Nowhere, "ISO 3166"),
        (Elsewhere, "lists_in = 'acount_id', which is none of its settings"),
        (Odd, "no schema can describe"),
        (ToyConnector, "None"),
    ],
)
def test_what_cannot_be_meant_is_told_by_name(
    monkeypatch: pytest.MonkeyPatch, found: Any, told: str
) -> None:
    """A mistake that would show late, or in a command about something else, shows at once."""
    assert told in told_of(monkeypatch, found)


def test_a_plugin_that_ends_the_process_is_only_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither an exit nor a print while it is imported gets through to the others."""

    def load(_: EntryPoint) -> None:
        print("loading")  # noqa: T201 - a stranger's bad habit
        sys.exit(3)

    install(monkeypatch, toy="somewhere:ToyConnector")
    monkeypatch.setattr(EntryPoint, "load", load)
    assert "SystemExit" in installed_connectors().broken["toy"]
    assert capsys.readouterr().out == ""


def test_a_name_that_no_project_file_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point's name is the connector's name, so it has to be one."""
    install(monkeypatch, **{"Toy Ads": "connectors.meta:MetaConnector"})
    assert "small letters" in installed_connectors().broken["Toy Ads"]


def test_a_package_cannot_take_the_place_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever installs another `meta` goes on with the one that came with audience-sync."""
    listed = [
        EntryPoint("meta", "evil.meta:MetaConnector", GROUP),
        EntryPoint("meta", "connectors.meta:MetaConnector", GROUP),
    ]
    for point, package in zip(listed, ("evil-meta", "audience-sync"), strict=True):
        vars(point)["dist"] = SimpleNamespace(name=package)
    monkeypatch.setattr(audience_sync.plugins, "entry_points", lambda **_: EntryPoints(listed))
    found = installed_connectors()
    assert found.connectors["meta"].__module__ == "connectors.meta"
    assert found.broken.keys() == {"meta of evil-meta"}
    assert "uninstall evil-meta" in found.broken["meta of evil-meta"]


def test_a_destination_whose_connector_is_broken_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not "not installed": it is, and the reason stands where it is used."""
    install(
        monkeypatch, lost="no_such_package:Connector", google="connectors.google:GoogleConnector"
    )
    project = tmp_path / "audience-sync.yaml"
    project.write_text(
        "project: p\ncontroller: P\n"
        "source: {url: c.csv, columns: {customer_id: id, email: e, consent: c}}\n"
        "destinations: {here: {connector: lost}}\n"
    )
    found = installed_connectors().connectors
    with pytest.raises(ConfigurationError, match=r":4: .*lost is left out: no_such_package"):
        load_project(project, found, {}, found.why)
