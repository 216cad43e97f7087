"""Keys that another command may change meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from audience_sync.errors import ConfigurationError
from audience_sync.keys import Keys


class Watched:
    """Keys as they are now: read again once one of their files has changed."""

    def __init__(self, paths: Sequence[Path], read: Callable[[], Keys]) -> None:
        self._paths = tuple(paths)
        self._read = read
        seen = self._look()  # before they are read: what changes meanwhile is seen later
        self._last = (seen, read())  # as one: threads that read at once tear nothing apart

    def now(self) -> Keys:
        """The keys; as they were last where a file cannot be read just now."""
        seen, (known, keys) = self._look(), self._last
        if seen != known:
            with suppress(ConfigurationError):
                keys = self._read()
                self._last = (seen, keys)
        return keys

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
