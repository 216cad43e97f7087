"""Turn the answers of a run into the membership: what the partner holds now, as far as we know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from audience_sync.errors import AwayError, StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import (
    Batch,
    BatchState,
    Operation,
    RemoteList,
    Run,
    RunState,
)
from audience_sync.membership.digests import starts
from audience_sync.membership.held import (
    Manifest,
    Membership,
    apply,
    by_partition,
    doubt,
    write_lines,
)
from audience_sync.membership.lines import DOUBTFUL, Lines, no_lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import Outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.following import following_folder, read_following
from audience_sync.runs.holding import NOBODY, members_with
from audience_sync.runs.leases import Held
from audience_sync.runs.standing import Standing
from audience_sync.runs.suppression import Suppression
from audience_sync.runs.traces import Leavers
from audience_sync.runs.whole import sends_everybody

ANSWERED = frozenset({BatchState.ACCEPTED, BatchState.PENDING, BatchState.CONFIRMED})
_UNSURE = frozenset({BatchState.SENDING, BatchState.UNKNOWN})  # perhaps they arrived
_PATCHED, _LIFTED = "patched", "lifted"


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """Writes memberships; the ledger's pointer makes them true."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    suppression: Suppression
    leavers: Leavers | None = None

    def settle(self, run: Run, outbox: Outbox, held: Held) -> RemoteList:
        """What was accepted becomes the membership; calling it again changes nothing."""
        remote = self.ledger.remote_list(run.audience, run.destination)
        if remote.manifest.get("run") == run.id:
            return remote
        batches = self.ledger.batches(run.id)
        foreseen = following = read_following(self.location, self.keyring, run)
        smooth = remote.generation == run.generation and all(
            batch.state in ANSWERED
            and not (batch.rejected_positions or batch.withheld or _stayed_on(batch))
            for batch in batches
        )
        if not smooth:
            following = self._patched(run, remote, batches, outbox, following)
        if self.leavers is not None:
            surely = [batch for batch in batches if batch.state in ANSWERED]
            self.leavers.note(run, _removed(surely, outbox))
        answered = all(batch.state in ANSWERED for batch in batches)
        if remote.refreshed_at is None or (answered and sends_everybody(run)):
            remote = replace(remote, refreshed_at=run.started_at)
        known = run.withdrawals
        if any(b.operation is Operation.REMOVE and b.state not in ANSWERED for b in batches) or any(
            map(_stayed_on, batches)
        ):
            known = min(known, known_withdrawals(remote))  # those who stayed are asked for again
        following = self._lifted(run, remote, following, known)
        settled = self._point(run, remote, following, held, known=known)
        self._sweep(foreseen, following)
        return settled

    def _lifted(self, run: Run, remote: RemoteList, manifest: Manifest, known: int) -> Manifest:
        """Who is held in spite of a withdrawal, since a later grant lifted it, is in doubt.

        The withdrawal lane works beside the run, and perhaps took them off.
        """
        before = known_withdrawals(remote)
        standing = Standing(self.ledger, self.location, self.keyring)
        digests = standing.digests(before, known) if before < known else NOBODY
        there = Membership(self.location, self.keyring, manifest)
        files = dict(manifest.files)
        for partition in manifest.files if len(digests) else ():
            lines = there.read(partition, manifest.partitions)
            named = lines.alive & members_with(lines, digests)
            if named.any():
                place = f"lists/{remote.destination}/{remote.audience}/{run.id}"
                files[partition] = f"{place}/{_LIFTED}/{partition}.sealed"
                write_lines(self.location, files[partition], self.keyring, lines.marked(named))
        return replace(manifest, files=files)

    def take_back(self, run: Run, outbox: Outbox, told: Sequence[Batch], held: Held) -> None:
        """What the partner told of batches after all counts; the next plan acts on it.

        Members of failed additions, and those named as unusable, stay in doubt: an earlier run
        may have sent them too, and what nobody remembers nobody can remove. What a removal did
        not surely take off comes back, in doubt.
        """
        remote = self.ledger.remote_list(run.audience, run.destination)
        stored = Manifest.of(remote.manifest)
        partitions = stored.partitions
        before = Membership(self.location, self.keyring, stored)
        again = _Aligned(by_partition(self._not_added(run, told, outbox), partitions))
        back = _Aligned(by_partition(_not_removed(told, outbox), partitions))

        def lines(partition: int) -> Lines:
            nothing = no_lines({})
            held_now = before.read(partition, partitions)
            returned = apply(held_now, nothing, nothing, doubtful=back.at(partition))
            return doubt(returned, again.at(partition))

        removals = any(batch.operation is Operation.REMOVE for batch in told)
        known = remote.manifest.get("known_before", 0) if removals else None
        self._rewrite(run, remote, partitions, lines, held, known=known)

    def doubt_everybody(self, run: Run, held: Held) -> bool:
        """The outbox is lost: all whom the partner perhaps holds are in doubt from now on.

        Those are who was held before and whom the plan foresaw. False when what the plan foresaw
        is lost too, so that whoever only this run sent is known to nobody.
        """
        remote = self.ledger.remote_list(run.audience, run.destination)
        stored = Manifest.of(remote.manifest)
        before = Membership(self.location, self.keyring, stored)
        settled = remote.manifest.get("run") == run.id
        foreseen, whole = (stored, True) if settled else self._foreseen(run)
        partitions = max(stored.partitions, foreseen.partitions)
        after = Membership(self.location, self.keyring, foreseen)
        readable = [whole]

        def lines(partition: int) -> Lines:
            nothing = perhaps = no_lines({})
            try:
                perhaps = after.read(partition, partitions)
            except AwayError:
                raise  # nothing is lost; it is read when it answers again
            except StateError:
                readable.append(False)
            perhaps = perhaps.take(perhaps.alive)
            all_of_them = apply(
                before.read(partition, partitions), nothing, nothing, doubtful=perhaps
            )
            return doubt(all_of_them, all_of_them)

        manifest = self._rewrite(run, remote, partitions, lines, held, mark=not settled)
        if not settled:
            self._sweep(foreseen, manifest)
        return all(readable)

    def doubt_held(self, run: Run, held: Held) -> None:
        """Everybody who is held is in doubt, before the partner is asked to take all of them off.

        The run is still the one that was planned on it; the files that it looks at stay.
        """
        remote = self.ledger.remote_list(run.audience, run.destination)
        stored = Manifest.of(remote.manifest)
        before, files = Membership(self.location, self.keyring, stored), dict(stored.files)
        for partition in stored.files:
            lines = before.read(partition, stored.partitions)
            if (lines.state[lines.alive] != DOUBTFUL).any():
                folder = f"{following_folder(run)}/doubted-{remote.generation}"
                files[partition] = f"{folder}/{partition}.sealed"
                write_lines(
                    self.location, files[partition], self.keyring, lines.marked(lines.alive)
                )
        left = set(stored.files.values()) - set(files.values())
        if left:
            doubted = replace(
                remote,
                generation=remote.generation + 1,
                manifest={
                    **remote.manifest,
                    **replace(stored, files=files).as_json(),
                    "base": remote.manifest.get("base", remote.generation),
                    "kept": sorted({*remote.manifest.get("kept", ()), *left}),
                },
            )
            lease = held[run.lease_name]
            self.ledger.save_remote_list(doubted, expect_generation=remote.generation, lease=lease)

    def empty(self, run: Run, held: Held, *, gone: bool) -> None:
        """Nobody is on the list any more, by what the run led to; `gone` when it was deleted.

        Whoever left by age is still not to be added again.
        """
        remote = self.ledger.remote_list(run.audience, run.destination)
        stored = Manifest.of(remote.manifest)
        before = Membership(self.location, self.keyring, stored)
        foreseen, whole = self._foreseen(run)
        after = Membership(self.location, self.keyring, foreseen) if whole else before
        partitions = after.manifest.partitions

        def tombstones(partition: int) -> Lines:
            lines = after.read(partition, partitions)
            return lines.take(~lines.alive)

        if self.leavers is not None:
            everybody = (before.read(at, stored.partitions) for at in range(stored.partitions))
            self.leavers.note(run, (lines.take(lines.alive) for lines in everybody))
        manifest = self._write(f"{run.id}/emptied", remote, partitions, tombstones)
        if gone:
            remote = replace(remote, remote_id=None, creation_intended_at=None, statistics={})
        self._point(run, remote, manifest, held)
        self._sweep(foreseen, manifest)

    def _foreseen(self, run: Run) -> tuple[Manifest, bool]:
        try:
            return read_following(self.location, self.keyring, run), True
        except AwayError:
            raise
        except StateError:
            return Manifest(), False

    def _rewrite(
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
        # Under the run's own name, which a sweep respects while the run is open.
        folder = f"{run.id}/taken-back-{remote.generation}"
        manifest = self._write(folder, remote, partitions, lines_of)
        self._point(run, remote, manifest, held, mark=mark, known=known)
        return manifest

    def _patched(
        self,
        run: Run,
        remote: RemoteList,
        batches: Sequence[Batch],
        outbox: Outbox,
        following: Manifest,
    ) -> Manifest:
        answered = [batch for batch in batches if batch.state in ANSWERED]
        before = Membership(self.location, self.keyring, Manifest.of(remote.manifest))
        foreseen = Membership(self.location, self.keyring, following)
        partitions = following.partitions
        off = _Aligned(by_partition(_removed(answered, outbox), partitions))
        still = _Aligned(by_partition(_not_removed(batches, outbox), partitions))
        on = _Aligned(by_partition(self._accepted(run, answered, outbox), partitions))
        perhaps = _Aligned(by_partition(_perhaps_added(batches, outbox), partitions))

        def lines(partition: int) -> Lines:
            settled = apply(
                before.read(partition, partitions),
                off.at(partition),
                on.at(partition),
                foreseen.read(partition, partitions),
                perhaps.at(partition),
            )
            return doubt(settled, still.at(partition))

        return self._write(f"{run.id}/{_PATCHED}", remote, partitions, lines)

    def _write(
        self,
        folder: str,
        remote: RemoteList,
        partitions: int,
        lines_of: Callable[[int], Lines],
    ) -> Manifest:
        files, members = {}, 0
        for partition in range(partitions):
            lines = lines_of(partition)
            if len(lines):
                path = f"lists/{remote.destination}/{remote.audience}/{folder}/{partition}.sealed"
                write_lines(self.location, path, self.keyring, lines)
                files[partition] = path
                members += int(lines.alive[lines.starts].sum())
        return Manifest(partitions, files, members)

    def _accepted(self, run: Run, batches: Sequence[Batch], outbox: Outbox) -> Iterator[Lines]:
        """Added lines without the rejected members, which are remembered as fingerprints (L9)."""
        for batch in batches:
            if batch.operation is Operation.ADD:
                lines = outbox.batch(batch.position)
                sent = ~of_members(lines, batch.withheld_positions)
                if batch.rejected_positions:
                    bad = of_members(lines, batch.rejected_positions)
                    self.suppression.remember(run.destination, lines.take(bad))
                    sent &= ~bad
                yield lines if sent.all() else lines.take(sent)

    def _not_added(self, run: Run, batches: Sequence[Batch], outbox: Outbox) -> Iterator[Lines]:
        """Added lines that a late answer put in doubt; rejected members are remembered (L9)."""
        for batch in batches:
            if batch.operation is not Operation.ADD:
                continue
            failed = batch.state is BatchState.FAILED
            if failed or batch.rejected_positions:
                lines = outbox.batch(batch.position)
                bad = of_members(lines, batch.rejected_positions)
                self.suppression.remember(run.destination, lines.take(bad))
                yield lines if failed else lines.take(bad)

    def _point(
        self,
        run: Run,
        remote: RemoteList,
        manifest: Manifest,
        held: Held,
        *,
        mark: bool = True,
        known: int | None = None,
    ) -> RemoteList:
        before = known_withdrawals(remote)
        settled = replace(
            remote,
            generation=remote.generation + 1,
            members=manifest.members,
            forms=run.forms if mark else remote.forms,
            manifest=manifest.as_json()
            | {"run": run.id if mark else remote.manifest.get("run")}
            | {"known": before if known is None else known}
            | {"known_before": self._sure(remote, before)},
        )
        lease = held[run.lease_name]
        self.ledger.save_remote_list(settled, expect_generation=remote.generation, lease=lease)
        self._sweep(Manifest.of(remote.manifest), manifest)
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

    def _sweep(self, other: Manifest, manifest: Manifest) -> None:
        """Delete the files of another generation that the one in force does not use."""
        kept = set(manifest.files.values())
        for path in other.files.values():
            if path not in kept:
                self.location.delete(path)


class _Aligned:
    """Parts that come by rising partition, asked for one partition after the other."""

    def __init__(self, parts: Iterator[tuple[int, Lines]]) -> None:
        self._parts = parts
        self._next = next(parts, None)

    def at(self, partition: int) -> Lines:
        if self._next is None or self._next[0] != partition:
            return no_lines({})
        lines = self._next[1]
        self._next = next(self._parts, None)
        return lines


def of_members(
    lines: Lines, positions: Collection[int]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """A mask of the lines that belong to the members at these positions of the batch."""
    first = starts(lines.keys)
    chosen = np.zeros(len(first), dtype=np.bool_)
    chosen[list(positions)] = True
    return np.repeat(chosen, np.diff(np.append(first, len(lines))))


def needs_taking_back(batch: Batch) -> bool:
    """Whether a late answer to a batch changes what the partner holds, as far as we know."""
    if batch.operation is Operation.ADD:
        return batch.state is BatchState.FAILED or bool(batch.rejected_positions)
    return _stayed_on(batch)


def _stayed_on(batch: Batch) -> bool:
    """Whether some whom a batch was to take off are perhaps on the list still."""
    return batch.operation is Operation.REMOVE and bool(
        batch.state in _UNSURE or batch.unattributed or batch.rejected_positions
    )


def _removed(batches: Sequence[Batch], outbox: Outbox) -> Iterator[Lines]:
    """Lines that were surely taken off."""
    for batch in batches:
        if batch.operation is Operation.REMOVE and not batch.unattributed:
            lines = outbox.batch(batch.position)
            if batch.rejected_positions:
                lines = lines.take(~of_members(lines, batch.rejected_positions))
            yield lines


def _not_removed(batches: Sequence[Batch], outbox: Outbox) -> Iterator[Lines]:
    """Lines that were sent to be taken off, and perhaps are on the list still."""
    for batch in filter(_stayed_on, batches):
        lines = outbox.batch(batch.position)
        if batch.state not in _UNSURE and not batch.unattributed:
            lines = lines.take(of_members(lines, batch.rejected_positions))
        yield lines


def _perhaps_added(batches: Sequence[Batch], outbox: Outbox) -> Iterator[Lines]:
    """Lines that were sent without a clear answer, and not sent again since."""
    for batch in batches:
        if batch.operation is not Operation.ADD:
            continue
        once = was_sent_before(batch)
        if batch.state in _UNSURE:
            lines = outbox.batch(batch.position)
            yield lines if once else lines.take(~of_members(lines, batch.withheld_positions))
        elif batch.withheld and once:
            lines = outbox.batch(batch.position)
            yield lines.take(of_members(lines, batch.withheld_positions))


def was_sent_before(batch: Batch) -> bool:
    """Whether those whom a batch withheld at its last attempt were perhaps sent at an earlier."""
    return batch.attempts > (0 if batch.withheld == batch.members else 1)


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
