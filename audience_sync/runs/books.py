"""What we know of a list, once people who withdrew are off it: the membership without them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import RemoteList
from audience_sync.ledger.records.work import Lease
from audience_sync.membership.digests import Mask
from audience_sync.membership.held import Manifest, Membership, write_lines
from audience_sync.membership.lines import DOUBTFUL, Lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.departing import Leaving
from audience_sync.runs.generations import known_to_runs, known_withdrawals
from audience_sync.runs.traces import (
    DELETED_FOR_OTHERS,
    EMPTIED_FOR_OTHERS,
    OF_WITHDRAWALS,
    Leavers,
)


class Books:
    """The membership of one list; written under the list's own lease only.

    `watched` says whether open plans were made on it, whose files stay until these end; `sending`,
    whether one of them has sent something, and ends later.
    """

    def __init__(
        self,
        remote: RemoteList,
        ledger: Ledger,
        location: StateLocation,
        keyring: Keyring,
        leavers: Leavers | None,
        *,
        watched: bool,
        sending: bool,
    ) -> None:
        self.remote = remote
        self._ledger, self._location, self._keyring = ledger, location, keyring
        self._leavers, self._watched, self._sending = leavers, watched, sending

    @property
    def known(self) -> int:
        """The newest withdrawal that the membership knows."""
        return known_withdrawals(self.remote)

    @property
    def sure(self) -> int:
        """The newest one that it knows whatever partners still say of what runs took off."""
        return min(self.known, int(self.remote.manifest.get("known_before", self.known)))

    @property
    def settled(self) -> str:
        """The run whose additions and removals it knows of last; empty where none was."""
        return str(self.remote.manifest.get("run") or "")

    @property
    def empty(self) -> bool:
        """Whether it holds nobody at all."""
        return not Manifest.of(self.remote.manifest).files

    def membership(self) -> Membership:
        """Who is held."""
        manifest = Manifest.of(self.remote.manifest)
        return Membership(self._location, self._keyring, manifest)

    def write_off(
        self,
        held: Leaving,
        known: int,
        lease: Lease,
        *,
        emptied: bool = False,
        gone: bool = False,
    ) -> None:
        """Write the membership without those who left; other partitions stay as they are.

        Where the list was `emptied` that is everybody. Whoever left by age before stays noted.
        """
        stored, before = Manifest.of(self.remote.manifest), self.membership()
        place = f"lists/{self.remote.destination}/{self.remote.audience}"
        folder = f"{place}/withdrawn-{self.remote.generation + 1}"
        files, left = dict(stored.files), 0
        for partition in sorted(stored.files if emptied else held.partitions):
            lines = before.read(partition, stored.partitions)
            rest = lines.take(~(held.names(lines) | (lines.alive & emptied)))
            left += len(lines.take(lines.alive).starts) - len(rest.take(rest.alive).starts)
            files.pop(partition, None)
            if len(rest):
                path = f"{folder}/{partition}.sealed"
                write_lines(self._location, path, self._keyring, rest)
                files[partition] = path
        self._note_leavers(OF_WITHDRAWALS, held.lines)
        if emptied:
            why = DELETED_FOR_OTHERS if gone else EMPTIED_FOR_OTHERS
            self._note_leavers(why, _others(before, held))
        members = 0 if emptied else stored.members - left
        changed = Manifest(stored.partitions, files, members)
        replaced = set(stored.files.values()) - set(files.values())
        if changed == stored and not gone:
            self.note(known, lease)
            return
        self._point(changed, replaced, known, lease, gone=gone)

    def _note_leavers(self, why: str, lines: Iterable[Lines]) -> None:
        if self._leavers is not None:
            remote = self.remote
            list_ = remote.audience, remote.destination
            name = f"{why}lists/{remote.destination}/{remote.audience}, {remote.generation + 1}"
            self._leavers.note_as(name, *list_, lines)

    def doubt_everybody(self, known: int, lease: Lease) -> None:
        """Everybody was perhaps taken off: whoever is wanted is sent again by the next run."""
        everybody = frozenset(Manifest.of(self.remote.manifest).files)
        self._doubt(everybody, lambda lines: lines.alive, known, lease)

    def doubt(self, held: Leaving, known: int, lease: Lease) -> None:
        """These were perhaps taken off: the next run sends them again, or takes them off."""
        if held:
            self._doubt(
                held.partitions, lambda lines: lines.alive & held.names(lines), known, lease
            )
        else:
            self.note(known, lease)

    def _doubt(
        self, partitions: Collection[int], whom: Callable[[Lines], Mask], known: int, lease: Lease
    ) -> None:
        stored, before = Manifest.of(self.remote.manifest), self.membership()
        place = f"lists/{self.remote.destination}/{self.remote.audience}"
        files = {}
        for partition in partitions:
            lines = before.read(partition, stored.partitions)
            if (lines.state[whom(lines)] != DOUBTFUL).any():
                path = f"{place}/withdrawn-{self.remote.generation + 1}/{partition}.sealed"
                write_lines(self._location, path, self._keyring, lines.marked(whom(lines)))
                files[partition] = path
        if not files:
            self.note(known, lease)
            return
        changed = replace(stored, files={**stored.files, **files})
        replaced = {stored.files[partition] for partition in files}
        self._point(changed, replaced, known, lease, gone=False)

    def note(self, known: int, lease: Lease) -> None:
        """Nobody up to this withdrawal is held."""
        remote = self.remote
        manifest = self._knowing(known)
        self.remote = self._ledger.save_remote_list(
            replace(remote, manifest=manifest),
            expect_generation=remote.generation,
            lease=lease,
        )

    def _knowing(self, known: int) -> dict[str, Any]:
        """The manifest once it knows of this withdrawal; see `known_to_runs`."""
        written = {**self.remote.manifest, "known": known, "knew": known_to_runs(self.remote)}
        if not self._sending:
            del written["knew"]
        return written

    def _point(
        self, manifest: Manifest, replaced: set[str], known: int, lease: Lease, *, gone: bool
    ) -> None:
        remote = self.remote
        kept = set(remote.manifest.get("kept", ())) | replaced
        written = self._knowing(known) | manifest.as_json()
        written |= {"kept": sorted(kept) if self._watched else []}
        if not gone:
            written |= {"base": remote.manifest.get("base", remote.generation)}
        else:
            written = manifest.as_json() | {"known": known, "run": remote.manifest.get("run")}
        after = replace(
            remote,
            generation=remote.generation + 1,
            members=manifest.members,
            manifest=written,
            remote_id=None if gone else remote.remote_id,
            creation_intended_at=None if gone else remote.creation_intended_at,
            statistics={} if gone else remote.statistics,
        )
        self.remote = self._ledger.save_remote_list(
            after, expect_generation=remote.generation, lease=lease
        )
        for path in () if self._watched else kept:
            self._location.delete(path)


def _others(before: Membership, held: Leaving) -> Iterator[Lines]:
    """Who left with those who are named, since everybody did."""
    for partition in before.manifest.files:
        lines = before.read(partition, before.manifest.partitions)
        yield lines.take(lines.alive & ~held.names(lines))
