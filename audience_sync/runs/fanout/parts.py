"""What pieces of a plan leave for the next stage: sealed files, and sums for the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import orjson

from audience_sync.membership.held import get_lines, put_lines
from audience_sync.membership.sealed import SealedReader, SealedWriter
from audience_sync.membership.spill import Gathered
from audience_sync.runs.compare import Counts
from audience_sync.runs.listplan import Stored
from audience_sync.runs.surveyed import Tally
from audience_sync.runs.targets import Workspace

_TOLD = "told"
_NOTES = 2**32 - 1  # the group of the notes
_PARTS = ("added", "removed", "following")
_ARRAYS = ("drops", "blank_selected", "blank_left_out")


def tally_as_json(tally: Tally) -> dict[str, Any]:
    """For the ledger."""
    arrays = {name: getattr(tally, name).tolist() for name in _ARRAYS}
    return {
        "rows": tally.rows,
        "unknown_consent_values": tally.unknown_consent_values,
        **arrays,
    }


def sum_of(tallies: Sequence[Mapping[str, Any]]) -> Tally:
    """The tally of several surveys."""
    arrays = {
        name: np.sum([np.array(one[name], dtype=np.int64) for one in tallies], axis=0)
        for name in _ARRAYS
    }
    return Tally(
        rows=sum(one["rows"] for one in tallies),
        unknown_consent_values=sum(one["unknown_consent_values"] for one in tallies),
        **arrays,
    )


def gathered(
    space: Workspace, spill: str, pieces: Sequence[Mapping[str, Any]], count: str
) -> Gathered:
    """One spill of several pieces; those that put nothing in have no file."""
    return gathered_at(space, [(space.at(p["folder"]).path_of(spill), p[count]) for p in pieces])


def gathered_at(space: Workspace, parts: Sequence[tuple[str, int]]) -> Gathered:
    """Spills by path and number of rows, as one."""
    paths = [path for path, rows in parts if rows]
    rows = sum(rows for _, rows in parts)
    return Gathered(space.location, paths, space.keyring, space.partitions, rows)


class StoredWriter:
    """Keeps what comparing some partitions gave, for the lists of a job."""

    def __init__(self, space: Workspace) -> None:
        self._open = ExitStack()
        path = space.path_of("compared")
        file = self._open.enter_context(space.location.create(path, durable=False))
        self._writer = SealedWriter(file, path, space.keyring)
        self._told: list[dict[str, Any]] = []
        self._groups = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._open.close()

    def put(self, number: int, stored: Stored) -> None:
        """Keep what became of one partition of the list of this number."""
        groups = {}
        for part in _PARTS:
            lines = getattr(stored, part)
            if lines is not None and len(lines):
                put_lines(self._writer, self._groups, lines)
                groups[part] = self._groups
                self._groups += 1
        counts = vars(stored.counts) | {"drops": stored.counts.drops.tolist()}
        self._told.append(
            {
                "list": number,
                "partition": stored.partition,
                "counts": counts,
                "same": stored.same,
                "path": stored.path,
                "kept": stored.following is not None,
                "groups": groups,
            }
        )

    def failed(self, number: int, error: str) -> None:
        """Keep that a list cannot be compared, and why."""
        self._told.append({"list": number, "error": error})

    def finish(self) -> None:
        """Nothing else comes."""
        told = np.frombuffer(orjson.dumps(self._told), dtype=np.uint8)
        self._writer.write(_NOTES, _TOLD, told)
        self._writer.close()


class StoredReader:
    """Gives back what a `StoredWriter` kept."""

    def __init__(self, space: Workspace) -> None:
        self._reader = SealedReader(space.location, space.path_of("compared"), space.keyring)
        told = self._reader.read(_NOTES, _TOLD)
        self._told = [] if told is None else orjson.loads(told.tobytes())

    def error(self, number: int) -> str | None:
        """Why a list could not be compared."""
        found = (one["error"] for one in self._told if one["list"] == number and "error" in one)
        return next(found, None)

    def of(self, number: int) -> Iterator[Stored]:
        """The partitions of a list, in order; one at a time is in memory."""
        mine = [one for one in self._told if one["list"] == number and "error" not in one]
        return map(self._stored, sorted(mine, key=lambda one: int(one["partition"])))

    def _stored(self, told: Mapping[str, Any]) -> Stored:
        counts = Counts(**told["counts"])
        counts.drops = np.array(counts.drops, dtype=np.int64)
        parts = {part: self._lines(told["groups"].get(part)) for part in _PARTS}
        following = parts["following"] if told["kept"] else None
        return Stored(
            told["partition"],
            counts,
            told["same"],
            parts["added"],
            parts["removed"],
            following,
            told["path"],
        )

    def _lines(self, group: int | None) -> Any:
        return get_lines(self._reader, _NOTES - 1 if group is None else group)
