"""The outbox: a run's delta written down, encrypted, in batches, before anything is sent (L6)."""

from __future__ import annotations

from contextlib import ExitStack
from hashlib import sha256

import numpy as np

from audience_sync.errors import StateError
from audience_sync.membership.held import get_lines, put_lines
from audience_sync.membership.lines import Lines, join, widths_of
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring, SealedReader, SealedWriter

_FOLDER = "outbox"
_PARTS = ("remove", "add")  # removals travel first (L4)


def _path(run: str, attempt: str, part: str) -> str:
    return f"{_FOLDER}/{run}/{attempt}{part}.sealed"


class OutboxWriter:
    """Cuts lines that come in key order into batches of at most `limit` lines, whole members.

    Of several who write the same run's outbox each writes files of its own, named by `attempt`.
    """

    def __init__(
        self,
        location: StateLocation,
        keyring: Keyring,
        run: str,
        limit: int,
        attempt: str = "",
    ) -> None:
        self._limit = limit
        self._attempt = attempt and f"{attempt}-"
        self._open = ExitStack()
        self._place = (location, keyring, run)
        self._writers: dict[str, SealedWriter] = {}  # opened when there is something to write
        self._waiting: dict[str, list[Lines]] = {part: [] for part in _PARTS}
        self.members: dict[str, list[int]] = {part: [] for part in _PARTS}

    def remove(self, lines: Lines) -> None:
        """Identifiers to take off."""
        for part in lines.by_width():
            self._put("remove", part)

    def add(self, lines: Lines) -> None:
        """Members to put on."""
        self._put("add", lines)

    def finish(self) -> str:
        """Write what is left; the outbox's fingerprint."""
        prints = []
        for part in _PARTS:
            if self._waiting[part]:
                self._cut(part, join(self._waiting[part]), last=True)
            prints.append(self._writer(part).close())
        self._open.close()
        return _fingerprint(prints)

    def abandon(self) -> None:
        """Stop writing, and delete the files; they are useless."""
        self._open.close()
        location, _, run = self._place
        for part in _PARTS:
            location.delete(_path(run, self._attempt, part))

    def _put(self, part: str, lines: Lines) -> None:
        if len(lines):
            waiting = self._waiting[part]
            if waiting and _clash(waiting[-1], lines):  # a batch has values of one width only
                self._cut(part, join(waiting), last=True)
                waiting.clear()
            waiting.append(lines)
            if sum(map(len, self._waiting[part])) >= self._limit:
                rest = self._cut(part, join(self._waiting[part]), last=False)
                self._waiting[part] = [rest] if len(rest) else []

    def _writer(self, part: str) -> SealedWriter:
        if part not in self._writers:
            location, keyring, run = self._place
            path = _path(run, self._attempt, part)
            file = self._open.enter_context(location.create(path))
            self._writers[part] = SealedWriter(file, path, keyring)
        return self._writers[part]

    def _cut(self, part: str, lines: Lines, *, last: bool) -> Lines:
        first = lines.starts
        at = 0
        while len(lines) - at > (0 if last else self._limit):
            end = len(lines)
            if end - at > self._limit:
                whole = first[np.searchsorted(first, at + self._limit, side="right") - 1]
                end = int(whole) if whole > at else at + self._limit
            batch = lines.take(slice(at, end))
            put_lines(self._writer(part), len(self.members[part]), batch)
            self.members[part].append(len(batch.starts))
            at = end
        return lines.take(slice(at, len(lines)))


class Outbox:
    """Reads the batches of a run: removals first, numbered through."""

    def __init__(
        self, location: StateLocation, keyring: Keyring, run: str, fingerprint: str | None
    ) -> None:
        for attempt in _attempts(location, run):
            self._readers = [
                SealedReader(location, _path(run, attempt, part), keyring) for part in _PARTS
            ]
            if _fingerprint([reader.fingerprint for reader in self._readers]) == fingerprint:
                break
        else:
            raise StateError(
                f"the outbox of run {run} is not the one that was planned; "
                "cancel the run and plan it again"
            )
        self._removals = len(self._readers[0].groups)

    def batch(self, position: int) -> Lines:
        """The lines of one batch."""
        if position < self._removals:
            return get_lines(self._readers[0], position)
        return get_lines(self._readers[1], position - self._removals)


def destroy_outbox(location: StateLocation, run: str) -> None:
    """Delete the outbox of a run that ended (L9)."""
    location.delete(f"{_FOLDER}/{run}")


def _attempts(location: StateLocation, run: str) -> list[str]:
    """Who wrote a whole outbox of the run; one who was too late may have left another."""
    ends = [f"{part}.sealed" for part in _PARTS]
    names = set(location.names(f"{_FOLDER}/{run}"))
    found = sorted(name.removesuffix(ends[0]) for name in names if name.endswith(ends[0]))
    return [one for one in found if one + ends[1] in names] or [""]


def _clash(some: Lines, others: Lines) -> bool:
    widths = widths_of(others)
    return any(widths.get(kind, width) != width for kind, width in widths_of(some).items())


def _fingerprint(prints: list[str]) -> str:
    return sha256("".join(prints).encode()).hexdigest()
