"""The place where bulk state rests: a folder, or object storage by fsspec URL."""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import uuid4

from audience_sync.errors import AwayError, StateError

# Libraries whose errors are no OSErrors; their words may hold addresses and keys.
_DRIVERS = frozenset(
    {"adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "s3fs"}
)
_TRIES = 10  # to delete a folder that others write into


class StateLocation(ABC):
    """Files by relative path. A file appears whole or not at all; errors are StateErrors."""

    @contextmanager
    def create(self, path: str, *, durable: bool = True) -> Iterator[BinaryIO]:
        """Open a new file for writing; it appears under its name when the block ends well.

        A `durable` one survives a power cut from then on.
        """
        with _translated(path), self._create(path, durable=durable) as file:
            yield cast("BinaryIO", _Written(file, path))

    def read(self, path: str, start: int, length: int) -> bytes:
        """A range of bytes; safe from several threads."""
        with _translated(path):
            return self._read(path, start, length)

    def size(self, path: str) -> int:
        """The size in bytes."""
        with _translated(path):
            return self._size(path)

    def delete(self, path: str) -> None:
        """Remove a file or a folder with all in it; no error when it is not there."""
        with _translated(path):
            self._delete(path)

    def names(self, folder: str) -> list[str]:
        """The names of the files and folders directly in a folder; empty when there is none."""
        with _translated(folder):
            return self._names(folder)

    def holds(self, folder: str) -> bool:
        """Whether a folder holds a file, however deep; the empty ones of dropped plans are none."""
        with _translated(folder):
            return self._holds(folder)

    @abstractmethod
    def _create(self, path: str, *, durable: bool) -> Any: ...

    @abstractmethod
    def _read(self, path: str, start: int, length: int) -> bytes: ...

    @abstractmethod
    def _size(self, path: str) -> int: ...

    @abstractmethod
    def _delete(self, path: str) -> None: ...

    @abstractmethod
    def _names(self, folder: str) -> list[str]: ...

    def _holds(self, folder: str) -> bool:
        return bool(self._names(folder))


def open_location(url: str) -> StateLocation:
    """The state location that a folder path or fsspec URL names."""
    if "://" in url and not url.startswith("file://"):
        return ObjectLocation(url)
    return FolderLocation(Path(url.removeprefix("file://")))


class FolderLocation(StateLocation):
    """A folder on a disk; new files are written aside, flushed to the disk, and renamed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def _create(self, path: str, *, durable: bool) -> Iterator[BinaryIO]:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Machines that share the disk have processes of the same number.
        aside = target.with_name(f".{target.name}.{uuid4().hex}.part")
        try:
            with aside.open("wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            aside.replace(target)
            if durable:
                _flush_folder(target.parent)
        finally:
            aside.unlink(missing_ok=True)

    def _read(self, path: str, start: int, length: int) -> bytes:
        with (self._root / path).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), length, start)

    def _size(self, path: str) -> int:
        return (self._root / path).stat().st_size

    def _delete(self, path: str) -> None:
        target = self._root / path
        with suppress(FileNotFoundError):  # somebody else deletes the same
            if not target.is_dir():
                target.unlink(missing_ok=True)
                return
            for left in reversed(range(_TRIES)):
                for child in target.iterdir():
                    self._delete(f"{path}/{child.name}")
                if _removed(target, last=left == 0):
                    return

    def _names(self, folder: str) -> list[str]:
        target = self._root / folder
        return sorted(child.name for child in target.iterdir()) if target.is_dir() else []

    def _holds(self, folder: str) -> bool:
        return any(files for _, _, files in os.walk(self._root / folder))


class ObjectLocation(StateLocation):
    """Object storage through fsspec: what was uploaded completely appears, or replaces the older.

    Of two who write the same one, the last to finish is read by everybody from then on.
    """

    def __init__(self, url: str) -> None:
        import fsspec  # noqa: PLC0415 - folders, the default, do not need it

        try:
            # Others write here, too: what was listed a moment ago says nothing.
            self._files, self._root = fsspec.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError, OSError):
            scheme = url.split("://", 1)[0]
            raise StateError(
                f"the state location needs the fsspec driver for {scheme}://; "
                "install it or set AUDIENCE_SYNC_STATE_URL to a folder"
            ) from None

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextmanager
    def _create(self, path: str, *, durable: bool) -> Iterator[BinaryIO]:  # noqa: ARG002 - objects always are
        try:
            file = self._files.open(self._path(path), "wb")
        except FileNotFoundError:
            raise _no_bucket() from None
        try:
            yield file
        except BaseException:
            self._discard(file, path)
            raise
        try:
            file.close()
        except FileNotFoundError:
            raise _no_bucket() from None
        finally:
            _forget(file)

    def _discard(self, file: Any, path: str) -> None:
        """Leave what was there before; closing would upload half a file in its place."""
        with suppress(Exception):
            file.discard()
        if not _forget(file):  # it wrote at once, without an upload
            with suppress(Exception):
                self._delete(path)

    def _read(self, path: str, start: int, length: int) -> bytes:
        if length <= 0:
            return b""
        return cast(
            "bytes", self._files.cat_file(self._path(path), start=start, end=start + length)
        )

    def _size(self, path: str) -> int:
        return int(self._files.size(self._path(path)))

    def _delete(self, path: str) -> None:
        with suppress(FileNotFoundError):  # nothing there, or somebody else deletes the same
            self._files.rm(self._path(path), recursive=True)

    def _names(self, folder: str) -> list[str]:
        inside = self._path(folder)
        try:
            found = self._files.ls(inside, detail=False)
        except FileNotFoundError:
            return []
        return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in found if name != inside)


def _forget(file: Any) -> bool:
    """Keep an upload from being tried once more when the file is collected; whether it is one."""
    from fsspec.spec import AbstractBufferedFile  # noqa: PLC0415 - as above

    if isinstance(file, AbstractBufferedFile):
        file.closed = True
        return True
    return False


def _no_bucket() -> StateError:
    return StateError(
        "the bucket of the state location does not exist; make it, or correct "
        "AUDIENCE_SYNC_STATE_URL"
    )


def _removed(folder: Path, *, last: bool) -> bool:
    """Remove an empty folder; False where somebody wrote into it meanwhile."""
    try:
        folder.rmdir()
    except OSError as error:
        if last or error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def _flush_folder(folder: Path) -> None:
    """A new name survives a power cut only when the folder that holds it was flushed, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Written:
    """A file being written; a full disk is told in words wherever it is met, not only at the end.

    Some writers stay open beyond the block that an error would pass through.
    """

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        self._path = path

    def write(self, content: bytes) -> int:
        with _translated(self._path):
            return self._file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Say in one sentence what a failing disk or store means; paths hold no personal values."""
    try:
        yield
    except FileNotFoundError:
        raise StateError(f"the state file {path} is missing; restore it from a backup") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AwayError(
                "the state location is full; free some space and run again, nothing was lost"
            ) from None
        if isinstance(error, PermissionError) and error.errno is None:  # a store's, not a disk's
            raise StateError(
                "the state location refuses us; check its credentials and what they may do"
            ) from None
        reason = error.strerror if error.errno is not None else None
        reason = reason or type(error).__name__
        lasting = isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError)
        kind = StateError if lasting else AwayError
        raise kind(f"the state file {path} cannot be used: {reason}") from None
    except Exception as error:
        found = type(error)
        if found.__module__.partition(".")[0] not in _DRIVERS:
            raise
        if "Credentials" in found.__name__:
            raise StateError(
                "the state location needs credentials; set them as its driver wants them, "
                "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from None
        raise AwayError(
            f"the state location does not answer ({found.__name__}); check "
            "AUDIENCE_SYNC_STATE_URL and the network, and run again"
        ) from None
