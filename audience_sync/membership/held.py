"""The membership: what a destination holds for an audience, as far as we know, in sealed files.

A manifest (kept by the ledger) names one file a partition. A generation is written beside the one
in force and becomes true when the ledger points at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audience_sync.identifiers.kinds import DIGEST_WIDTH, Kind
from audience_sync.membership.delta import subtract
from audience_sync.membership.digests import Mask, match, partition_of, sort_order, starts
from audience_sync.membership.lines import DOUBTFUL, Lines, join, merge, no_lines, widths_of
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring, SealedReader, SealedWriter


@dataclass(frozen=True)
class Manifest:
    """Which file holds each partition; partitions without members have no file."""

    partitions: int = 1
    files: Mapping[int, str] = field(default_factory=dict)
    members: int = 0

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Manifest:
        """From the ledger's JSON; an empty one names an empty membership."""
        files = {int(partition): str(path) for partition, path in stored.get("files", {}).items()}
        return cls(int(stored.get("partitions", 1)), files, int(stored.get("members", 0)))

    def as_json(self) -> dict[str, Any]:
        """For the ledger."""
        files = {str(partition): path for partition, path in self.files.items()}
        return {"partitions": self.partitions, "files": files, "members": self.members}


class Membership:
    """Reads the lines of a membership by partition, whatever number of partitions it was cut in.

    With `stale` everybody is in doubt: whoever stays wanted is sent again.
    """

    def __init__(
        self,
        location: StateLocation,
        keyring: Keyring,
        manifest: Manifest,
        *,
        stale: bool = False,
    ) -> None:
        self._location = location
        self._keyring = keyring
        self._stale = stale
        self.manifest = manifest

    def read(self, partition: int, partitions: int) -> Lines:
        """The sorted lines whose keys fall into one of so many partitions."""
        lines = self._read(partition, partitions)
        return lines.marked(lines.alive) if self._stale else lines

    def _read(self, partition: int, partitions: int) -> Lines:
        stored = self.manifest.partitions
        if partitions <= stored:
            ratio = stored // partitions
            parts = [self._file(partition * ratio + i) for i in range(ratio)]
            return _joined(parts)
        lines = self._file(partition * stored // partitions)
        return lines.take(partition_of(lines.keys, partitions) == partition)

    def _file(self, partition: int) -> Lines:
        path = self.manifest.files.get(partition)
        return no_lines({}) if path is None else read_lines(self._location, path, self._keyring)


def write_lines(location: StateLocation, path: str, keyring: Keyring, lines: Lines) -> None:
    """Write sorted lines into a file of their own."""
    with location.create(path) as file:
        writer = SealedWriter(file, path, keyring)
        put_lines(writer, 0, lines)
        writer.close()


def read_lines(location: StateLocation, path: str, keyring: Keyring) -> Lines:
    """The lines of a file."""
    return get_lines(SealedReader(location, path, keyring), 0)


def put_lines(writer: SealedWriter, group: int, lines: Lines) -> None:
    """Write lines as one group; slots and states are left out where all are zero."""
    writer.write(group, "keys", lines.keys)
    writer.write(group, "since", lines.since)
    if lines.slot.any():
        writer.write(group, "slot", lines.slot)
    if lines.state.any():
        writer.write(group, "state", lines.state)
    for kind, values in lines.columns.items():
        writer.write(group, kind.value, values)


def get_lines(reader: SealedReader, group: int) -> Lines:
    """The lines of one group."""
    keys = reader.read(group, "keys")
    if keys is None:
        return no_lines({})
    nothing = np.zeros(len(keys), dtype=np.uint8)
    slot, state, since = (reader.read(group, name) for name in ("slot", "state", "since"))
    columns = {}
    for kind in Kind:
        values = reader.read(group, kind.value)
        if values is not None:
            columns[kind] = values
    return Lines(
        keys,
        nothing if slot is None else slot,
        columns,
        nothing.astype(np.uint32) if since is None else since,
        nothing if state is None else state,
    )


def apply(
    held: Lines,
    removed: Lines,
    added: Lines,
    following: Lines | None = None,
    doubtful: Lines | None = None,
) -> Lines:
    """What is held after some identifiers were taken off and some members were put on.

    `following` is what the plan foresaw: from it come the tombstones of members that left by age.
    `doubtful` members were sent without a clear answer; they are held, so that they can be
    removed, and remembered as doubtful until they are sent again.
    """
    perhaps = no_lines({}) if doubtful is None else doubtful
    widths = widths_of(held, removed, added, perhaps)
    alive = held.with_kinds(widths).take(held.alive)
    rest = join([subtract(alive, removed.with_kinds(widths).sorted()), added, perhaps])
    united = merge(rest.keys, rest.columns, rest.since)  # what was sent is remembered whole
    unsure = join([alive.take(alive.state == DOUBTFUL), perhaps])
    united = united.marked(_named(united, unsure) & ~_named(united, added))
    tombs = held if following is None else following
    tombs = tombs.take(~tombs.alive)
    tombs = tombs.take(match(tombs.keys, united.keys[united.starts]) < 0)
    return join([united, tombs]).sorted() if len(tombs) else united


def doubt(held: Lines, among: Lines) -> Lines:
    """The same lines; the members that `among` names are sent again if they stay wanted."""
    return held.marked(held.alive & _named(held, among))


def _named(lines: Lines, among: Lines) -> Mask:
    """Which lines belong to members of the other lines."""
    keys = among.keys[sort_order(among.keys)]
    return match(lines.keys, keys[starts(keys)]) >= 0


def by_partition(batches: Iterable[Lines], partitions: int) -> Iterator[tuple[int, Lines]]:
    """Lines of batches that come in key order, cut at the borders of partitions."""
    current, waiting = 0, list[Lines]()
    for lines in batches:
        of = partition_of(lines.keys, partitions)
        for partition in np.unique(of).tolist():
            if partition != current and waiting:
                yield current, _joined(waiting)
                waiting = []
            current = partition
            waiting.append(lines.take(of == partition))
    if waiting:
        yield current, _joined(waiting)


def _joined(parts: list[Lines]) -> Lines:
    full = [part for part in parts if len(part)]
    return join(full) if full else no_lines(widths_of(*parts) or {Kind.EMAIL: DIGEST_WIDTH})
