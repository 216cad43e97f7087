"""What one list's plan gathers, partition by partition: outbox, following membership, counts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from audience_sync.errors import AudienceSyncError
from audience_sync.identifiers.kinds import Kind
from audience_sync.membership.crossing import StillCarried
from audience_sync.membership.digests import Bytes, Mask, Positions
from audience_sync.membership.held import Manifest, Membership, write_lines
from audience_sync.membership.lines import Lines, join
from audience_sync.membership.outbox import OutboxWriter, destroy_outbox
from audience_sync.runs.compare import Compared, Counts
from audience_sync.runs.targets import Target, Workspace
from audience_sync.runs.waiting import WaitingLines

# Kinds that another member may still carry; an e-mail is carried by one identity only. What one
# member sends as one kind of device another may send as the other: partners do not tell them apart.
_SHARED = ((Kind.PHONE,), (Kind.IDFA, Kind.GAID), (Kind.EXTERNAL_ID,))
_FAMILY = {kind: family for family in _SHARED for kind in family}
_KINDS = tuple(Kind)
# Partitions of a small list share a file. It is read once for each of them, so it has to be small,
# and so have the lines that are in memory for each list until a file is full.
_MEMBERS_PER_FILE = 2_000


@dataclass(frozen=True)
class Stored:
    """What is left of a compared partition; lines that share a file with others are kept."""

    partition: int
    counts: Counts
    same: bool
    added: Lines
    removed: Lines
    following: Lines | None  # to be stored with those of its neighbours
    path: str | None  # of the following lines; None where there are none or they are kept


class ListPlan:
    """Takes the compared partitions of one list in order; `finish` closes the outbox.

    Its membership is kept in so many `files`, one for each run of neighbouring partitions. With
    `at_once` additions go straight to the outbox, which stays open; else they wait. Of several who
    plan the same run each writes files of its own, named by `attempt`.
    """

    def __init__(
        self,
        run: str,
        target: Target,
        before: Membership,
        generation: int,
        space: Workspace,
        waiting: WaitingLines,
        *,
        at_once: bool,
        files: int,
        attempt: str = "",
    ) -> None:
        self.run = run
        self.target = target
        self.generation = generation
        self.before = before
        self.counts = Counts()
        self.silent = True
        self.kept = False  # whether the ledger knows the run
        self.error: AudienceSyncError | None = None  # what stopped this list; others go on
        self._space = space
        self._files: dict[int, str] = {}
        self._partitions = files
        self._neighbours: list[Stored] = []
        self._alone = not attempt
        self._folder = generation_folder(target, run) + (attempt and f"/{attempt}")
        self._outbox = OutboxWriter(space.location, space.keyring, run, target.batch_size, attempt)
        self._waiting = waiting
        self._at_once = at_once
        self._added: list[int] = []  # numbers of waiting lines
        self._removed: list[int] = []

    def store(self, compared: Compared) -> Stored:
        """Write the partition's following lines; safe from several threads."""
        delta, partition = compared.delta, compared.partition
        following, path = None, None
        if self._partitions < self._space.partitions:
            following = delta.following
        else:
            path = self._write(partition, [delta.following], same=delta.same)
        return Stored(
            partition, compared.counts, delta.same, delta.added, delta.removed, following, path
        )

    def _write(self, file: int, parts: Sequence[Lines], *, same: bool) -> str | None:
        """The file of these lines, which is the old one where it holds the same."""
        stored = self.before.manifest
        if same and stored.partitions == self._partitions:
            return stored.files.get(file)
        if not any(map(len, parts)):
            return None
        path = f"{self._folder}/{file}.sealed"
        full = [part for part in parts if len(part)]
        write_lines(self._space.location, path, self._space.keyring, join(full))
        return path

    def take(self, stored: Stored) -> None:
        """Take the next partition in; removals wait until all that is carried is known."""
        self.counts += stored.counts
        if stored.following is not None:
            self._gather(stored)
        elif stored.path is not None:
            self._files[stored.partition] = stored.path
        if not stored.same:
            self.silent = False
        if self._at_once:
            self._outbox.add(stored.added)
        elif len(stored.added):
            self._added.append(self._waiting.put(stored.added))
        if len(stored.removed):
            self._removed.append(self._waiting.put(stored.removed))

    def _gather(self, stored: Stored) -> None:
        """Write the lines of neighbouring partitions into one file once all are there."""
        neighbours, share = self._neighbours, self._space.partitions // self._partitions
        neighbours.append(stored)
        if (stored.partition + 1) % share == 0:
            file = stored.partition // share
            parts = [one.following for one in neighbours if one.following is not None]
            path = self._write(file, parts, same=all(one.same for one in neighbours))
            if path is not None:
                self._files[file] = path
            neighbours.clear()

    def finish(self) -> tuple[str, list[int], list[int]]:
        """The outbox's fingerprint, and how many members each removal and addition batch has."""
        for number in self._added:
            self._outbox.add(self._waiting.get(number))
        stays = self._stays()
        for number in self._removed:
            lines = self._waiting.get(number)
            for kind in lines.columns:
                if (kind, number) in stays:
                    lines = lines.blank(kind, at_lines(len(lines), stays[kind, number]))
            self._outbox.remove(lines.without_blank())
        fingerprint = self._outbox.finish()
        return fingerprint, self._outbox.members["remove"], self._outbox.members["add"]

    def abandon(self) -> None:
        """Delete what was written here; the plan came to nothing."""
        self._outbox.abandon()
        if self._alone:
            destroy_outbox(self._space.location, self.run)
        self._space.location.delete(self._folder)

    @property
    def manifest(self) -> Manifest:
        """The membership once everything in the outbox is delivered."""
        members = self.counts.unchanged + self.counts.additions + self.counts.canaries
        return Manifest(self._partitions, self._files, members)

    def _stays(self) -> dict[tuple[Kind, int], Positions]:
        """Leaving identifiers that another wanted member still carries, by kind and number."""
        space = self._space
        stays: dict[tuple[Kind, int], list[Positions]] = {}
        with ExitStack() as ending:
            shared = {}
            for family in _SHARED:
                path = f"{space.folder}/{self.run}-{family[0]}"
                carried = StillCarried(space.location, path, space.keyring, space.partitions)
                ending.callback(carried.discard)
                shared[family] = carried
            for place, number in enumerate(self._removed):
                for kind, values in self._waiting.get(number).columns.items():
                    if kind in _FAMILY:
                        home = place * len(_KINDS) + _KINDS.index(kind)
                        shared[_FAMILY[kind]].leave(values, home)
            for family, carried in shared.items():
                if not carried.empty:
                    self._carry(family, carried)
                    for homes, at in carried.settle():
                        for home in np.unique(homes).tolist():
                            place, index = divmod(home, len(_KINDS))
                            found = stays.setdefault((_KINDS[index], self._removed[place]), [])
                            found.append(at[homes == home])
                carried.discard()
        return {place: np.concatenate(parts) for place, parts in stays.items()}

    def _carry(self, family: tuple[Kind, ...], carried: StillCarried) -> None:
        """Tell what the wanted members carry of some kinds."""
        manifest = self.manifest
        following = Membership(self._space.location, self._space.keyring, manifest)
        carried.prepare()
        for partition in range(manifest.partitions):
            lines = following.read(partition, manifest.partitions)
            for kind in family:
                if kind in lines.columns:
                    carried.carry(_alive(lines, kind))


def files_for(members: int, partitions: int, before: int) -> int:
    """In how many files a list of about so many members is kept: a power of two.

    The number `before` stays as long as it is not far off, since another one rewrites them all.
    """
    wanted = min(partitions, 1 << max(0, members // _MEMBERS_PER_FILE).bit_length())
    near = before <= partitions and before <= 4 * wanted and wanted <= 4 * before
    return before if near else wanted


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
