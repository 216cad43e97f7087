"""The generations of a membership: each is written whole, then the ledger points at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from audience_sync.errors import AwayError, StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import RemoteList, Run, RunState
from audience_sync.membership.held import Manifest, Membership, write_lines
from audience_sync.membership.lines import Lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.following import read_following
from audience_sync.runs.leases import Held


@dataclass(frozen=True)
class Generations:
    """Memberships as they are written; the ledger's pointer makes them true."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring

    def membership(self, manifest: Manifest) -> Membership:
        """Who is held by what was written."""
        return Membership(self.location, self.keyring, manifest)

    def foreseen(self, run: Run) -> tuple[Manifest, bool]:
        """What a plan made of the membership, and whether that can be read still."""
        try:
            return read_following(self.location, self.keyring, run), True
        except AwayError:
            raise
        except StateError:
            return Manifest(), False

    def rewrite(
        self,
        run: Run,
        remote: RemoteList,
        partitions: int,
        lines_of: Callable[[int], Lines],
        held: Held,
        *,
        mark: bool = False,
        known: int | None = None,
    ) -> Manifest:
        """Let these lines be the membership from now on; see `point` for `mark` and `known`."""
        # Under the run's own name, which a sweep respects while the run is open.
        folder = f"{run.id}/taken-back-{remote.generation}"
        manifest = self.write(folder, remote, partitions, lines_of)
        self.point(run, remote, manifest, held, mark=mark, known=known)
        return manifest

    def write(
        self,
        folder: str,
        remote: RemoteList,
        partitions: int,
        lines_of: Callable[[int], Lines],
    ) -> Manifest:
        """Write the lines of each partition into a folder of their own."""
        files, members = {}, 0
        for partition in range(partitions):
            lines = lines_of(partition)
            if len(lines):
                path = f"lists/{remote.destination}/{remote.audience}/{folder}/{partition}.sealed"
                write_lines(self.location, path, self.keyring, lines)
                files[partition] = path
                members += int(lines.alive[lines.starts].sum())
        return Manifest(partitions, files, members)

    def point(
        self,
        run: Run,
        remote: RemoteList,
        manifest: Manifest,
        held: Held,
        *,
        mark: bool = True,
        known: int | None = None,
    ) -> RemoteList:
        """Make what was written the membership, and delete the files that it does not use.

        With `mark` it is what the run led to; `known` is the newest withdrawal that it knows.
        """
        before = known_withdrawals(remote)
        waits = not mark and "knew" in remote.manifest  # for the run that stands still
        settled = replace(
            remote,
            generation=remote.generation + 1,
            members=manifest.members,
            forms=run.forms if mark else remote.forms,
            manifest=manifest.as_json()
            | {"run": run.id if mark else remote.manifest.get("run")}
            | {"known": before if known is None else known}
            | {"known_before": self._sure(remote, before)}
            | ({"knew": known_to_runs(remote)} if waits else {}),
        )
        lease = held[run.lease_name]
        self.ledger.save_remote_list(settled, expect_generation=remote.generation, lease=lease)
        self.sweep(Manifest.of(remote.manifest), manifest)
        for path in set(remote.manifest.get("kept", ())) - set(manifest.files.values()):
            self.location.delete(path)
        return settled

    def _sure(self, remote: RemoteList, before: int) -> int:
        """The newest withdrawal that holds whatever the delivered runs are still told."""
        waiting = self.ledger.runs(
            audience=remote.audience,
            destination=remote.destination,
            states=[RunState.DELIVERED],
        )
        return min(before, remote.manifest.get("known_before", before)) if waiting else before

    def sweep(self, other: Manifest, manifest: Manifest) -> None:
        """Delete the files of another generation that the one in force does not use."""
        kept = set(manifest.files.values())
        for path in other.files.values():
            if path not in kept:
                self.location.delete(path)


def planned_on(run: Run, remote: RemoteList) -> bool:
    """Whether the membership is the one that a run was planned on, but for whoever withdrew."""
    return (
        int(remote.manifest.get("base", remote.generation)) <= run.generation <= (remote.generation)
    )


def known_withdrawals(remote: RemoteList) -> int:
    """The newest withdrawal that the membership of a list knows: nobody of it is held any more.

    Whoever granted it again since may be.
    """
    return int(remote.manifest.get("known", 0))


def known_to_runs(remote: RemoteList) -> int:
    """The newest withdrawal that it knew before anybody was taken off while a run stood still.

    Whom the run had sent are not there any more, whatever it was answered.
    """
    return int(remote.manifest.get("knew", known_withdrawals(remote)))
