"""Turn the answers of a run into the membership: what the partner holds now, as far as we know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Batch, Operation, RemoteList, Run
from audience_sync.membership.held import Manifest, apply, by_partition, doubt, write_lines
from audience_sync.membership.lines import Lines, no_lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import Outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.answers import (
    ANSWERED,
    Remember,
    accepted,
    not_added,
    not_removed,
    perhaps_added,
    removed,
    stayed_on,
)
from audience_sync.runs.doubts import Doubts
from audience_sync.runs.following import read_following
from audience_sync.runs.generations import Generations, known_to_runs, known_withdrawals
from audience_sync.runs.holding import NOBODY, members_with
from audience_sync.runs.leases import Held
from audience_sync.runs.overtaking import Aligned, Brought, Overtaking
from audience_sync.runs.standing import Standing
from audience_sync.runs.suppression import Suppression
from audience_sync.runs.traces import Leavers
from audience_sync.runs.whole import sends_everybody

_PATCHED, _LIFTED = "patched", "lifted"


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """Writes memberships; the ledger's pointer makes them true."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    suppression: Suppression
    leavers: Leavers | None = None

    @property
    def generations(self) -> Generations:
        """What writes them."""
        return Generations(self.ledger, self.location, self.keyring)

    @property
    def _overtaking(self) -> Overtaking:
        return Overtaking(self.ledger, self.location, self.keyring)

    @property
    def doubts(self) -> Doubts:
        """What puts everybody in doubt."""
        return Doubts(self.generations)

    def settle(self, run: Run, outbox: Outbox, held: Held) -> RemoteList:
        """What was accepted becomes the membership; calling it again changes nothing."""
        remote = self.ledger.remote_list(run.audience, run.destination)
        if remote.manifest.get("run") == run.id:
            return remote
        batches = self.ledger.batches(run.id)
        foreseen = following = read_following(self.location, self.keyring, run)
        brought = self._overtaking.brought(run, batches, following.partitions)
        smooth = (
            brought.nobody
            and remote.generation == run.generation
            and all(
                batch.state in ANSWERED
                and not (batch.rejected_positions or batch.withheld or stayed_on(batch))
                for batch in batches
            )
        )
        if not smooth:
            following = self._patched(run, remote, batches, outbox, following, brought)
        if self.leavers is not None:
            surely = [batch for batch in batches if batch.state in ANSWERED]
            self.leavers.note(run, removed(surely, outbox))
        answered = all(batch.state in ANSWERED for batch in batches)
        if remote.refreshed_at is None or (answered and sends_everybody(run)):
            remote = replace(remote, refreshed_at=run.started_at)
        known = _known_after(run, remote, batches, overtaken=brought.any)
        following = self._lifted(run, remote, following, known)
        settled = self.generations.point(run, remote, following, held, known=known)
        self.generations.sweep(foreseen, following)
        return settled

    def _lifted(self, run: Run, remote: RemoteList, manifest: Manifest, known: int) -> Manifest:
        """Who is held in spite of a withdrawal is in doubt.

        A later grant lifted it, and the withdrawal lane, which works beside the run, perhaps took
        them off; or the run sent them before the lane did so, while nobody went on with the run.
        """
        first = min(known_to_runs(remote), known)
        last = max(known_withdrawals(remote), known)
        standing = Standing(self.ledger, self.location, self.keyring)
        digests = standing.digests(first, last) if first < last else NOBODY
        there = self.generations.membership(manifest)
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
        before = self.generations.membership(stored)
        again = Aligned(by_partition(not_added(told, outbox, self._remembering(run)), partitions))
        back = Aligned(by_partition(not_removed(told, outbox), partitions))

        def lines(partition: int) -> Lines:
            nothing = no_lines({})
            held_now = before.read(partition, partitions)
            returned = apply(held_now, nothing, nothing, doubtful=back.at(partition))
            return doubt(returned, again.at(partition))

        removals = any(batch.operation is Operation.REMOVE for batch in told)
        known = remote.manifest.get("known_before", 0) if removals else None
        self.generations.rewrite(run, remote, partitions, lines, held, known=known)

    def empty(self, run: Run, held: Held, *, gone: bool) -> None:
        """Nobody is on the list any more, by what the run led to; `gone` when it was deleted.

        Whoever left by age is still not to be added again.
        """
        remote = self.ledger.remote_list(run.audience, run.destination)
        stored = Manifest.of(remote.manifest)
        before = self.generations.membership(stored)
        foreseen, whole = self.generations.foreseen(run)
        after = self.generations.membership(foreseen) if whole else before
        partitions = after.manifest.partitions

        def tombstones(partition: int) -> Lines:
            lines = after.read(partition, partitions)
            return lines.take(~lines.alive)

        if self.leavers is not None:
            everybody = (before.read(at, stored.partitions) for at in range(stored.partitions))
            self.leavers.note(run, (lines.take(lines.alive) for lines in everybody))
        manifest = self.generations.write(f"{run.id}/emptied", remote, partitions, tombstones)
        if gone:
            remote = replace(remote, remote_id=None, creation_intended_at=None, statistics={})
        self.generations.point(run, remote, manifest, held)
        self.generations.sweep(foreseen, manifest)

    def _patched(
        self,
        run: Run,
        remote: RemoteList,
        batches: Sequence[Batch],
        outbox: Outbox,
        following: Manifest,
        brought: Brought,
    ) -> Manifest:
        answered = [batch for batch in batches if batch.state in ANSWERED]
        before = self.generations.membership(Manifest.of(remote.manifest))
        foreseen = self.generations.membership(following)
        partitions = following.partitions
        off = Aligned(by_partition(removed(answered, outbox), partitions))
        still = Aligned(by_partition(not_removed(batches, outbox), partitions))
        on = Aligned(by_partition(accepted(answered, outbox, self._remembering(run)), partitions))
        perhaps = Aligned(by_partition(perhaps_added(batches, outbox), partitions))

        def lines(partition: int) -> Lines:
            gone = off.at(partition)
            back = brought.among(gone, partition)
            settled = apply(
                before.read(partition, partitions),
                gone.take(~back),
                on.at(partition),
                foreseen.read(partition, partitions),
                perhaps.at(partition),
            )
            return doubt(doubt(settled, still.at(partition)), gone.take(back))

        return self.generations.write(f"{run.id}/{_PATCHED}", remote, partitions, lines)

    def _remembering(self, run: Run) -> Remember:
        return lambda lines: self.suppression.remember(run.destination, lines)


def _known_after(run: Run, remote: RemoteList, batches: Sequence[Batch], *, overtaken: bool) -> int:
    """The newest withdrawal that a run's end knows; those who stayed on are asked for again.

    So are those whom a removal overtook that an older run adds.
    """
    removals = [batch for batch in batches if batch.operation is Operation.REMOVE]
    if not overtaken and all(
        batch.state in ANSWERED and not stayed_on(batch) for batch in removals
    ):
        return run.withdrawals
    return min(run.withdrawals, known_withdrawals(remote))
