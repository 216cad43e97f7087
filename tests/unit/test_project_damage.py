"""A project file that is damaged anywhere: an error in words, never a crash, never a secret."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from audience_sync.connector import Connector
from audience_sync.errors import ConfigurationError
from audience_sync.project import load_project
from audience_sync.testing.project_template import COMMENTED_VARIABLES, commented_project
from connectors.google import GoogleConnector
from connectors.meta import MetaConnector

CONNECTORS: dict[str, type[Connector[Any]]] = {"meta": MetaConnector, "google": GoogleConnector}
SECRET = "f3a9-secret-of-the-environment"
RIGHT = yaml.safe_load(commented_project())

Place = tuple[str | int, ...]


def places(tree: Any, place: Place = ()) -> Iterator[Place]:
    """Every place in a tree but its top."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for step, child in pairs:
        yield (*place, step)
        if isinstance(child, dict | list):
            yield from places(child, (*place, step))


PLACES = list(places(RIGHT))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=True),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    st.sampled_from(
        ["${", "${}", "${META_ACCESS_TOKEN}", "file:", "file:/", "off", "%", "5%", "*"]
    ),
)
damage = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abcdef-$", max_size=8), inner, max_size=3)
    ),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(PLACES), value=damage, remove=st.booleans())
def test_any_damage_is_an_error_in_words_or_no_damage(
    place: Place, value: Any, *, remove: bool
) -> None:
    """Each sentence names the file and a line, and holds nothing of the environment."""
    tree = deepcopy(RIGHT)
    parent = tree
    for step in place[:-1]:
        parent = parent[step]
    if remove:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audience-sync.yaml"
        path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
        told = findings(path)
    assert all(line.startswith("audience-sync.yaml:") for line in told)
    assert not any(SECRET in line for line in told)


def findings(path: Path) -> list[str]:
    """What is wrong with a file; nothing when it can be loaded."""
    try:
        load_project(path, CONNECTORS, dict.fromkeys(COMMENTED_VARIABLES, SECRET))
    except ConfigurationError as error:
        return str(error).split("\n")
    return []
