"""Lines of many lists that wait, in one encrypted file, until their list is concluded."""

from __future__ import annotations

from contextlib import ExitStack

from audience_sync.membership.held import get_lines, put_lines
from audience_sync.membership.lines import Lines
from audience_sync.membership.sealed import SealedReader, SealedWriter
from audience_sync.runs.targets import Workspace


class WaitingLines:
    """Takes lines from one thread, numbers them, and gives them back after `finish`.

    One file for all lists, so that the number of lists does not matter to the system's limit of
    open files.
    """

    def __init__(self, space: Workspace) -> None:
        self._space = space
        self._path = f"{space.folder}/waiting.sealed"
        self._open = ExitStack()
        self._writer: SealedWriter | None = None
        self._reader: SealedReader | None = None
        self._count = 0

    def put(self, lines: Lines) -> int:
        """Keep some lines; their number."""
        if self._writer is None:
            file = self._open.enter_context(self._space.location.create(self._path, durable=False))
            self._writer = SealedWriter(file, self._path, self._space.keyring)
        put_lines(self._writer, self._count, lines)
        self._count += 1
        return self._count - 1

    def finish(self) -> None:
        """Nothing else waits."""
        if self._writer is not None:
            self._writer.close()
            self._open.close()
            self._reader = SealedReader(self._space.location, self._path, self._space.keyring)

    def get(self, number: int) -> Lines:
        """The lines of this number."""
        if self._reader is None:
            raise KeyError(number)
        return get_lines(self._reader, number)

    def close(self) -> None:
        """Leave no file open."""
        self._open.close()
