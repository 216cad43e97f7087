"""What one list's plan gathers, partition by partition: outbox, following membership, counts."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from audience_sync.identifiers.kinds import Kind
from audience_sync.membership.crossing import StillCarried
from audience_sync.membership.digests import Bytes, Mask, Positions
from audience_sync.membership.held import Manifest, Membership, get_lines, put_lines, write_lines
from audience_sync.membership.lines import Lines
from audience_sync.membership.outbox import OutboxWriter, destroy_outbox
from audience_sync.membership.sealed import SealedReader, SealedWriter
from audience_sync.runs.compare import Compared, Counts
from audience_sync.runs.targets import Target, Workspace

_LOCAL = (Kind.EMAIL,)  # carried by one identity only, so no other member can still carry it


class ListPlan:
    """Takes the compared partitions of one list in order; `finish` closes the outbox."""

    def __init__(
        self, run: str, target: Target, before: Membership, generation: int, space: Workspace
    ) -> None:
        self.run = run
        self.target = target
        self.generation = generation
        self.before = before
        self.counts = Counts()
        self.silent = True
        self.kept = False  # whether the ledger knows the run
        self._space = space
        self._files: dict[int, str] = {}
        self._outbox = OutboxWriter(space.location, space.keyring, run, target.batch_size)
        self._leaving_path = f"{space.folder}/{run}-leaving.sealed"
        self._open = ExitStack()
        file = self._open.enter_context(space.location.create(self._leaving_path, durable=False))
        self._leaving = SealedWriter(file, self._leaving_path, space.keyring)
        self._carried = {
            kind: StillCarried(
                space.location, f"{space.folder}/{run}-{kind}", space.keyring, space.partitions
            )
            for kind in Kind
            if kind not in _LOCAL
        }

    def store(self, compared: Compared) -> str | None:
        """Write the partition's following lines; safe from several threads. The file's path."""
        delta = compared.delta
        partition, stored = compared.partition, self.before.manifest
        same = delta.same and stored.partitions == self._space.partitions
        if same or not len(delta.following):
            return stored.files.get(partition) if same else None
        path = f"{generation_folder(self.target, self.run)}/{partition}.sealed"
        write_lines(self._space.location, path, self._space.keyring, delta.following)
        return path

    def take(self, compared: Compared, path: str | None) -> None:
        """Take the next partition in; additions go to the outbox, removals wait for the others."""
        self.counts += compared.counts
        if path is not None:
            self._files[compared.partition] = path
        delta = compared.delta
        if not delta.same:
            self.silent = False
        self._outbox.add(delta.added)
        if len(delta.removed):
            put_lines(self._leaving, compared.partition, delta.removed)
            for kind, values in delta.removed.columns.items():
                if kind in self._carried:
                    self._carried[kind].leave(values, compared.partition)

    def finish(self) -> tuple[str, list[int], list[int]]:
        """The outbox's fingerprint, and how many members each removal and addition batch has."""
        self._leaving.close()
        self._open.close()
        stays = self._stays()
        reader = SealedReader(self._space.location, self._leaving_path, self._space.keyring)
        for partition in reader.groups:
            lines = get_lines(reader, partition)
            for (kind, where), at in stays.items():
                if where == partition:
                    lines = lines.blank(kind, at_lines(len(lines), at))
            self._outbox.remove(lines.without_blank())
        fingerprint = self._outbox.finish()
        return fingerprint, self._outbox.members["remove"], self._outbox.members["add"]

    def abandon(self) -> None:
        """Delete what was written; the plan came to nothing."""
        self._open.close()
        self._outbox.abandon()
        destroy_outbox(self._space.location, self.run)
        self._space.location.delete(generation_folder(self.target, self.run))

    @property
    def manifest(self) -> Manifest:
        """The membership once everything in the outbox is delivered."""
        members = self.counts.unchanged + self.counts.additions
        return Manifest(self._space.partitions, self._files, members)

    def _stays(self) -> dict[tuple[Kind, int], Positions]:
        """Leaving identifiers that another wanted member still carries, by kind and partition."""
        stays: dict[tuple[Kind, int], list[Positions]] = {}
        following = Membership(self._space.location, self._space.keyring, self.manifest)
        for kind, carried in self._carried.items():
            if not carried.empty:
                carried.prepare()
                for partition in range(self._space.partitions):
                    lines = following.read(partition, self._space.partitions)
                    if kind in lines.columns:
                        carried.carry(_alive(lines, kind))
                for homes, at in carried.settle():
                    for home in np.unique(homes).tolist():
                        stays.setdefault((kind, home), []).append(at[homes == home])
                carried.discard()
        return {place: np.concatenate(parts) for place, parts in stays.items()}


def generation_folder(target: Target, run: str) -> str:
    """Where the membership that a run leads to is kept."""
    return f"lists/{target.destination}/{target.audience}/{run}"


def at_lines(total: int, lines: Positions) -> Mask:
    """A mask of the lines named."""
    mask = np.zeros(total, dtype=np.bool_)
    mask[lines] = True
    return mask


def _alive(lines: Lines, kind: Kind) -> Bytes:
    alive: Bytes = lines.columns[kind][lines.alive]
    return alive
