"""The project files that `init` writes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from audience_sync.errors import ConfigurationError
from audience_sync.plugins import installed_connectors
from audience_sync.project import Project, load_project
from audience_sync.testing.project_template import (
    COMMENTED_VARIABLES,
    commented_project,
    demo_project,
    write_demo_secrets,
)

SANDBOX = "http://127.0.0.1:8600"


def load(folder: Path, text: str, environ: dict[str, str]) -> Project:
    path = folder / "audience-sync.yaml"
    path.write_text(text, encoding="utf-8")
    return load_project(path, installed_connectors().connectors, environ)


def test_the_commented_project_loads_once_its_variables_are_set(tmp_path: Path) -> None:
    """Nobody's first project file is broken."""
    project = load(
        tmp_path,
        commented_project("my-shop", 'A "B": C'),
        dict.fromkeys(COMMENTED_VARIABLES, "secret"),
    )
    assert project.controller == 'A "B": C'
    assert project.audiences.keys() == {"lapsed-vip"}


def test_the_commented_project_names_the_variables_to_set(tmp_path: Path) -> None:
    """Without them it says which."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, commented_project(), {})
    assert all(f"{name} is not set" in str(caught.value) for name in COMMENTED_VARIABLES)


def test_the_demo_needs_no_variable(tmp_path: Path) -> None:
    """Its secrets are files beside it that only their owner may read."""
    write_demo_secrets(tmp_path, SANDBOX)
    project = load(tmp_path, demo_project(SANDBOX), {})
    assert len(project.audiences) == 3
    assert all(d.settings.base_url.startswith(SANDBOX) for d in project.destinations.values())
    for secret in (tmp_path / "secrets").iterdir():
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_the_demo_overwrites_no_secret(tmp_path: Path) -> None:
    """A file that exists may be somebody's real token."""
    write_demo_secrets(tmp_path, SANDBOX)
    with pytest.raises(ConfigurationError, match="exists already"):
        write_demo_secrets(tmp_path, SANDBOX)
