"""The state location: files appear whole or not at all, on a disk and in object storage."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from audience_sync.errors import StateError
from audience_sync.membership.location import FolderLocation, StateLocation, open_location


@pytest.fixture(params=["folder", "file-url", "memory"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateLocation]:
    """Every sort of place."""
    urls = {
        "folder": str(tmp_path / "state"),
        "file-url": f"file://{tmp_path}/state",
        "memory": f"memory://{tmp_path.name}/state",
    }
    yield open_location(urls[request.param])
    fsspec.filesystem("memory").store.clear()


def put(location: StateLocation, path: str, content: bytes = b"0123456789") -> None:
    with location.create(path) as file:
        file.write(content)


def test_what_was_written_is_read_in_ranges(location: StateLocation) -> None:
    """Any range of a file can be read; its size is known."""
    put(location, "a/b/file")
    assert location.size("a/b/file") == 10
    assert location.read("a/b/file", 2, 3) == b"234"
    assert location.read("a/b/file", 0, 10) == b"0123456789"
    put(location, "a/b/file", b"new")
    assert location.read("a/b/file", 0, location.size("a/b/file")) == b"new"


def test_a_missing_file_is_a_sentence(location: StateLocation) -> None:
    """What to do about a missing file is told."""
    for ask in (lambda: location.size("gone"), lambda: location.read("gone", 0, 1)):
        with pytest.raises(StateError, match="gone is missing; restore it"):
            ask()


def test_names_and_delete(location: StateLocation) -> None:
    """Names are those of files and folders right there; deleting takes all in it, and twice."""
    for path in ("a/one", "a/two", "a/deep/er/three", "b/four"):
        put(location, path)
    assert location.names("a") == ["deep", "one", "two"]
    assert location.names("nowhere") == []
    location.delete("a/one")
    location.delete("a/deep")
    location.delete("a/deep")
    location.delete("never/was")
    assert location.names("a") == ["two"]
    location.delete("a")
    assert location.names("a") == []
    assert location.read("b/four", 0, 2) == b"01"


def fail(location: StateLocation, error: BaseException) -> None:
    """Stop half-way through a file."""
    with location.create("a/file") as file:
        file.write(b"half of")
        raise error


class Killed(BaseException):
    """What stops a program at once."""


@pytest.mark.parametrize("error", [ValueError("ours"), Killed(), StateError("already told")])
def test_a_failure_while_writing_leaves_nothing(
    location: StateLocation, error: BaseException
) -> None:
    """A file appears whole or not at all; what failed is told as it is."""
    with pytest.raises(type(error)):
        fail(location, error)
    assert location.names("a") == []
    with pytest.raises(StateError):
        location.size("a/file")


def test_a_failure_leaves_the_older_file_on_a_disk(tmp_path: Path) -> None:
    """On a disk the older file stays until the new one is complete."""
    location = FolderLocation(tmp_path)
    put(location, "a/file", b"old")
    with pytest.raises(Killed):
        fail(location, Killed())
    assert location.read("a/file", 0, 9) == b"old"
    assert location.names("a") == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A full disk says what to do, and that nothing was lost."""

    def full(_descriptor: int) -> None:
        raise OSError(number, "no room")

    monkeypatch.setattr(os, "fsync", full)
    location = FolderLocation(tmp_path)
    with pytest.raises(StateError, match="full; free some space"):
        put(location, "a/file")
    assert location.names("a") == []


def test_a_durable_file_survives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file and the folder that names it are flushed; scratch files spare both."""
    flushed: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    location = FolderLocation(tmp_path)
    put(location, "a/file")
    assert [name.startswith(".file.") or name for name in flushed] == [True, "a"]
    flushed.clear()
    with location.create("a/other", durable=False) as file:
        file.write(b"x")
    assert flushed == []


def test_what_the_disk_refuses_is_a_state_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every operation tells a failing disk in one sentence, without a path of the machine."""
    location = FolderLocation(tmp_path)
    put(location, "a/file")

    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    for name in ("unlink", "iterdir", "open", "stat"):
        monkeypatch.setattr(Path, name, refuse)
    for ask in (
        lambda: location.delete("a/file"),
        lambda: location.names("a"),
        lambda: location.size("a/file"),
        lambda: location.read("a/file", 0, 1),
    ):
        with pytest.raises(StateError) as told:
            ask()
        assert str(tmp_path) not in str(told.value)


def test_two_may_delete_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second finds nothing more to delete, and says nothing."""
    location = FolderLocation(tmp_path)
    put(location, "a/file")
    real = Path.rmdir

    def other_was_faster(self: Path) -> None:
        real(self)
        raise FileNotFoundError(errno.ENOENT, "gone", str(self))

    monkeypatch.setattr(Path, "rmdir", other_was_faster)
    location.delete("a")
    assert location.names("a") == []


def test_a_driver_that_is_not_installed_is_named() -> None:
    """The remedy names the scheme."""
    with pytest.raises(StateError, match="driver for nosuch://"):
        open_location("nosuch://bucket/state")


def test_two_who_write_one_file_at_once_write_two(tmp_path: Path) -> None:
    """Processes of one number on two machines share no half-written file; each appears whole."""
    location = FolderLocation(tmp_path)
    with location.create("a") as slow:
        slow.write(b"slow")
        with location.create("a") as quick:
            quick.write(b"quick one")
        assert location.read("a", 0, 100) == b"quick one"
    assert location.read("a", 0, 100) == b"slow"


def test_a_folder_that_somebody_writes_into_meanwhile_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where keys are rotated while a run ends, whose outbox nobody needs any more."""
    rmdir, late = Path.rmdir, [b"late"]

    def slow(folder: Path) -> None:
        if late:
            (folder / ".file.part").write_bytes(late.pop())
        rmdir(folder)

    location = FolderLocation(tmp_path)
    with location.create("outbox/r1/file") as file:
        file.write(b"x")
    monkeypatch.setattr(Path, "rmdir", slow)
    location.delete("outbox/r1")
    assert location.names("outbox") == []
