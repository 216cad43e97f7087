"""Keys that another command changes are read again, at whatever moment it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from audience_sync.errors import ConfigurationError
from audience_sync.keys import Keys, StateKeys
from audience_sync.keys.watched import Watched


def _keys(name: str) -> Keys:
    return Keys(StateKeys(name, {name: bytes(32)}), bytes(32))


def _replace(path: Path, text: str) -> None:
    """As a file of keys is: whole, by another one."""
    path.with_name("new").write_text(text)
    path.with_name("new").replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that names a key."""
    path = tmp_path / "state.key"
    path.write_text("first")
    return path


def test_a_change_is_noticed(path: Path) -> None:
    """With the next look, and without one nothing is read."""
    seen: list[str] = []

    def read() -> Keys:
        seen.append(path.read_text())
        return _keys(seen[-1])

    watched = Watched([path], read)
    assert watched.now() == watched.now() == _keys("first")
    _replace(path, "second")
    assert watched.now() == watched.now() == _keys("second")
    assert seen == ["first", "second"]


def test_a_change_in_the_moment_of_the_first_look_is_noticed(path: Path) -> None:
    """Else the process would never know the key that others encrypt with."""

    def read() -> Keys:
        found = path.read_text()
        if found == "first":
            _replace(path, "second")
        return _keys(found)

    assert Watched([path], read).now() == _keys("second")


def test_keys_that_cannot_be_read_just_now_stay_as_they_were(path: Path) -> None:
    """They are looked at again."""

    def read() -> Keys:
        if path.read_text() == "damaged":
            raise ConfigurationError("damaged")
        return _keys(path.read_text())

    watched = Watched([path], read)
    _replace(path, "damaged")
    assert watched.now() == _keys("first")
    _replace(path, "second")
    assert watched.now() == _keys("second")
