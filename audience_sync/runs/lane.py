"""The withdrawal lane: brings every withdrawal to every list that holds the person (L11).

One list is worked on at a time by one lane, under a lease of its own. Where nobody else holds the
list, people are taken off and out of the membership. Where a run is at work on it, they are taken
off beside it: removals by identifier are idempotent, the run adds nobody who withdrew, and the
membership is put right as soon as the list is free. A withdrawal is confirmed only then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from audience_sync.connector import Connector, Receipt
from audience_sync.errors import (
    AudienceSyncError,
    BusyError,
    ConfigurationError,
    RefusedError,
    TemporaryPartnerError,
    places,
)
from audience_sync.journal import carried as in_context
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records import (
    Batch,
    BatchState,
    Lease,
    Operation,
    RemoteList,
    Run,
    RunState,
)
from audience_sync.ledger.withdrawals import (
    ListRemoval,
    Withdrawal,
    WithdrawalDelivery,
    WithdrawalState,
)
from audience_sync.membership.digests import Bytes
from audience_sync.membership.held import Manifest, Membership, write_lines
from audience_sync.membership.lines import Lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import Outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.escalation import Escalation
from audience_sync.runs.faults import faults_of
from audience_sync.runs.holding import members_with, united
from audience_sync.runs.leases import LANE, LEASE_SECONDS, Held
from audience_sync.runs.link import Link
from audience_sync.runs.removal import Leaving, Removed, Remover, leaving, without_carried
from audience_sync.runs.settle import known_withdrawals, of_members, was_sent_before
from audience_sync.runs.standing import Standing
from audience_sync.runs.sweep import SCRATCH
from audience_sync.runs.traces import Leavers

SOON = 1.0  # seconds until a list that is busy is looked at again
_BUSY = 10.0  # seconds until the books are looked at again, which a run holds that is at work
_FIRST_PAUSE = 15.0  # seconds after a failure; doubled each time
_LONGEST_PAUSE = 1800.0  # seconds
_ASK_AGAIN = 60.0  # seconds between questions to a partner that answers later
_PATIENCE = timedelta(hours=48)  # partners promise 24; then the removal is sent again
_OPEN_RUNS = (RunState.PLANNED, RunState.HELD, RunState.DELIVERING)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Step:
    """How far one list is: the newest withdrawal it was told, that it took, that it is rid of.

    `named` are those that name somebody who was on it: what was sent concerns no others.
    """

    sent: int = 0
    named: frozenset[int] = frozenset()
    acknowledged: int = 0
    cleared: int = 0
    again: float | None = None  # seconds until it is to be looked at again; None: not needed
    reason: str | None = None  # what stands in the way, where somebody should know
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Worked:
    """What is left: how many withdrawals are open, and the seconds until more can be done.

    Of the open ones so many are `waiting` for a partner to acknowledge; the others for the books.
    """

    open: int
    waiting: int = 0
    again: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lane:
    """Works off what was received; may be called at any time and from any process."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    link: Callable[[str], Link]
    partner_of: Callable[[str], str | None]  # a destination's connector; None where it is gone
    resolve: Callable[[], int]
    escalation: Escalation
    holder: str
    alive: Callable[[str], bool]
    now: Callable[[], datetime] = field(repr=False)
    leavers: Leavers | None = None

    @property
    def standing(self) -> Standing:
        """The withdrawals."""
        return Standing(self.ledger, self.location, self.keyring)

    def work(self, *, at_once: bool = False) -> Worked:
        """Bring everything that is open as far as it goes now, destinations side by side.

        What failed waits for its time, unless somebody asks for it `at_once`.
        """
        reasons = []
        try:
            self.resolve()
        except AudienceSyncError as error:
            reasons.append(str(error))
            _log.warning("Withdrawals by customer id wait: %s", error)
        waiting = self.ledger.withdrawal_deliveries(only_open=True)
        now = self.now()
        due: dict[str, list[WithdrawalDelivery]] = {}
        for one in waiting:
            due.setdefault(one.destination, []).append(one)
        ready = {
            name: rows
            for name, rows in due.items()
            if at_once
            or any(row.next_attempt_at is None or row.next_attempt_at <= now for row in rows)
        }
        if ready:
            one_each = in_context(self._destination)
            with ThreadPoolExecutor(len(ready)) as pool:
                list(pool.map(one_each, ready, ready.values()))
        left = self.ledger.withdrawal_deliveries(only_open=True)
        return self._worked(left, reasons)

    def _worked(self, left: Sequence[WithdrawalDelivery], reasons: list[str]) -> Worked:
        now = self.now()
        waits = [
            max(0.0, (row.next_attempt_at - now).total_seconds()) if row.next_attempt_at else SOON
            for row in left
        ]
        told = dict.fromkeys([*reasons, *(row.reason for row in left if row.reason)])
        waiting = sum(row.acknowledged_at is None for row in left)
        again = min(waits, default=None)
        return Worked(open=len(left), waiting=waiting, again=again, reasons=tuple(told))

    def _destination(self, destination: str, rows: Sequence[WithdrawalDelivery]) -> None:
        """All lists of one destination, and what that means for each of its withdrawals."""
        head = self.ledger.newest_withdrawal()
        lists = [r for r in self.ledger.remote_lists() if r.destination == destination]
        steps = [self._tried(remote, head) for remote in lists]
        found = {one.sequence: one for one in self.ledger.withdrawals(through=head)}
        changed = [self._moved(row, found[row.sequence], steps) for row in rows]
        self.ledger.save_withdrawal_deliveries(changed)

    def _tried(self, remote: RemoteList, head: int) -> Step:
        """One list, whatever goes wrong with it: the others go on."""
        try:
            return self._step(remote.audience, remote.destination, head)
        except BusyError:
            return Step(again=SOON)
        except TemporaryPartnerError as error:
            return Step(reason=str(error), again=error.retry_after, failed=True)
        except AudienceSyncError as error:
            where = remote.audience, remote.destination
            _log.error("A withdrawal cannot be delivered to %s at %s: %s", *where, error)
            return Step(reason=str(error), failed=True)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; others go on
            found = type(error).__name__
            words = remote.audience, remote.destination, found, places(error)
            _log.error("A withdrawal from %s at %s stopped with %s in %s", *words)
            return Step(reason=f"something unexpected stopped it ({found})", failed=True)

    def _moved(
        self, row: WithdrawalDelivery, withdrawal: Withdrawal, steps: Sequence[Step]
    ) -> WithdrawalDelivery:
        """A delivery as its lists leave it."""
        now, reasons = self.now(), [step.reason for step in steps if step.reason]
        if withdrawal.customers and withdrawal.resolved_by is None:
            later = now + timedelta(seconds=_FIRST_PAUSE)
            reason = "it waits until the customers can be read"
            return replace(row, next_attempt_at=later, attempts=row.attempts + 1, reason=reason)
        through = max(withdrawal.sequence, withdrawal.resolved_by or 0)
        theirs = {withdrawal.sequence, withdrawal.resolved_by}
        sent = any(step.sent >= through and theirs & step.named for step in steps)
        taken = all(step.acknowledged >= through for step in steps)
        cleared = all(step.cleared >= through for step in steps)
        state = WithdrawalState.QUEUED
        if cleared:
            state = WithdrawalState.CONFIRMED
        elif taken:
            state = WithdrawalState.ACKNOWLEDGED
        elif sent:
            state = WithdrawalState.SENT
        failed = any(step.failed for step in steps)
        return replace(
            row,
            state=state,
            sent_at=row.sent_at or (now if sent else None),
            acknowledged_at=(row.acknowledged_at or now) if taken or cleared else None,
            confirmed_at=now if cleared else None,
            attempts=row.attempts + failed,
            next_attempt_at=None if cleared else now + self._pause(row, steps),
            reason=None if cleared else "; ".join(dict.fromkeys(reasons)) or None,
        )

    def _pause(self, row: WithdrawalDelivery, steps: Sequence[Step]) -> timedelta:
        waits = [step.again for step in steps if step.again is not None]
        if any(step.failed and step.again is None for step in steps):
            waits.append(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(row.attempts, 10)))
        return timedelta(seconds=min(waits, default=SOON))

    def _step(self, audience: str, destination: str, head: int) -> Step:
        """One list under the leases that can be had."""
        name = f"{audience}/{destination}"
        mine = f"{LANE}{name}"
        leases = {mine: self._take(mine)}
        alone = True
        try:
            leases[name] = self._take(name)
        except BusyError:
            alone = False
        except BaseException:
            self.ledger.release_lease(leases[mine])
            raise
        with Held(self.ledger, leases) as held, ExitStack() as ending:
            if alone:  # keeps the sweep from what is written here
                scratch = f"{SCRATCH}/{self.ledger.new_run_id()}"
                kept = self.ledger.take_lease(scratch, self.holder, LEASE_SECONDS)
                ending.callback(self.ledger.release_lease, kept, for_good=True)
            return _AtList(self, audience, destination, head, held, alone=alone).go()

    def _take(self, name: str) -> Lease:
        return self.ledger.take_lease(name, self.holder, LEASE_SECONDS, alive=self.alive)


class _AtList:
    """One look at one list."""

    def __init__(
        self, lane: Lane, audience: str, destination: str, head: int, held: Held, *, alone: bool
    ) -> None:
        self.lane, self.ledger, self.held, self.alone = lane, lane.ledger, held, alone
        self.name = f"{audience}/{destination}"
        self.lease = f"{LANE}{self.name}"
        self.head = head
        # The runs before the list: what settles in between is then seen twice, not missed.
        self.runs = self.ledger.runs(
            audience=audience,
            destination=destination,
            states=[*_OPEN_RUNS, RunState.DELIVERED],
        )
        self.remote = self.ledger.remote_list(audience, destination)
        self.removal = self.ledger.list_removal(audience, destination)
        self.partner = lane.partner_of(destination)

    def go(self) -> Step:
        """As far as it goes now."""
        manifest = Manifest.of(self.remote.manifest)
        if not manifest.files and not self._sending:
            return self._rid()
        pending = self._asked()
        if pending is not None:
            return pending
        each = self.lane.standing.each(self._known, self.head, self.partner or "")
        return self._found(each) if each else self._rid()

    @property
    def _known(self) -> int:
        return min(known_withdrawals(self.remote), self.head)

    @property
    def _sending(self) -> list[Run]:
        return [run for run in self.runs if run.state is RunState.DELIVERING]

    def _found(self, each: Mapping[int, Bytes]) -> Step:
        told = self.removal.through if self.removal is not None else 0
        if told >= self.head and not self.alone:  # the run adds none of them, and ends some time
            return Step(sent=told, acknowledged=told, again=_BUSY)
        digests, membership = united(list(each.values())), self._membership()
        held = leaving(membership, lambda lines: members_with(lines, digests))
        sent, in_flight = self._sent(digests)
        if in_flight and not self.alone:  # its answer comes first, so that it is taken off after
            return Step(again=SOON / 4)
        if not held and not sent:
            return self._rid()
        if self.partner is None:
            raise ConfigurationError(
                f"{self.remote.destination} is no longer in the project, and "
                f"{self.remote.audience} there holds people who withdrew: put it back, "
                "or delete the list at the partner"
            )
        named = _naming(each, [*held.lines, *sent])
        if told >= self.head and self._sending and sent:
            return Step(sent=told, acknowledged=told, named=named, again=_BUSY)
        link = self.lane.link(self.remote.destination)
        if not self.alone and _has_state(link.connector):
            return Step(again=SOON)  # it sends to one list at a time, and a run is at it
        removed = self._remove(link, [*held.lines, *sent], digests)
        return replace(self._after(removed, held), named=named)

    def _remove(self, link: Link, lines: Sequence[Lines], digests: Bytes) -> Removed:
        """Ask the partner to take these off; escalates where it refuses."""
        alive = [part.take(part.alive) for part in lines]
        alive = [part for part in alive if len(part)]
        off = without_carried(alive, digests, lambda: self._others(digests))
        remover = Remover(ledger=self.ledger, now=self.lane.now)
        try:
            removed = remover.remove(link, self.remote, off, self.held, self.lease)
        except RefusedError as error:
            if not self.alone or self._sending:
                raise
            return self.lane.escalation.escalate(
                remover, link, self.remote, self._membership(), error, self.held, self.lease
            )
        removal = ListRemoval(
            audience=self.remote.audience,
            destination=self.remote.destination,
            through=0 if removed.stayed is not None else self.head,
            run=removed.run,
            sent_at=self.lane.now(),
            pending=removed.pending,
            ask_at=None
            if not removed.pending
            else self.lane.now() + timedelta(seconds=removed.wait or _ASK_AGAIN),
        )
        self.ledger.save_list_removal(removal, self.held[self.lease])
        self.removal = removal
        return removed

    def _after(self, removed: Removed, held: Leaving) -> Step:
        if removed.stayed is not None:
            members = len(removed.stayed.starts)
            return Step(
                sent=self.head,
                reason=f"the partner did not take {members:,} members off; it is asked again",
                failed=True,
            )
        if removed.emptied and removed.pending:
            self._doubt_everybody()
        if removed.pending:
            return Step(sent=self.head, acknowledged=self.head, again=removed.wait or _ASK_AGAIN)
        if not self.alone:
            return Step(sent=self.head, acknowledged=self.head, again=_BUSY)
        self._write_off(held, emptied=removed.emptied, gone=removed.gone)
        return replace(self._rid(), sent=self.head)

    def _rid(self) -> Step:
        """Nobody who withdrew is held, as far as we know; noted where the list is ours to note."""
        if self._unsure_removals():
            return Step(acknowledged=self.head, again=_ASK_AGAIN)
        if self._comes_back():
            return Step(acknowledged=self.head, again=_BUSY)
        if self.alone and self.remote.manifest and known_withdrawals(self.remote) < self.head:
            self._save(self.remote, known=self.head)
        return Step(acknowledged=self.head, cleared=self.head)

    def _comes_back(self) -> bool:
        """Whether a run under way will put people into the books who were taken off since."""
        for run in self._sending:
            digests = self._digests(run.withdrawals, self.head)
            if len(digests) and self._sent(digests)[0]:
                return True
        return False

    def _digests(self, after: int, through: int) -> Bytes:
        return self.lane.standing.digests(after, through, self.partner or "")

    def _unsure_removals(self) -> bool:
        """Whether a run's removals still wait for the partner's last word."""
        return any(
            batch.operation is Operation.REMOVE and batch.state is BatchState.PENDING
            for run in self.runs
            if run.state is RunState.DELIVERED
            for batch in self.ledger.batches(run.id)
        )

    def _asked(self) -> Step | None:
        """Ask about a removal that waits; None when nothing waits any more."""
        removal = self.removal
        if removal is None or not removal.pending or removal.through < self.head:
            return None  # a newer withdrawal is sent at once, with all that is open before it
        now = self.lane.now()
        told = Step(sent=removal.through, acknowledged=removal.through)
        if removal.ask_at is not None and removal.ask_at > now:
            return replace(told, again=(removal.ask_at - now).total_seconds())
        link = self.lane.link(self.remote.destination)
        answers = [self._answer(link, reference) for reference in removal.pending]
        failed = any(answer is not None and not _done(answer) for answer in answers)
        left = tuple(
            reference
            for reference, answer in zip(removal.pending, answers, strict=True)
            if answer is not None and answer.pending
        )
        if failed or (left and now - removal.sent_at > _PATIENCE):
            self._note(replace(removal, pending=(), through=0))  # it is sent again
            return None
        if left:
            later = now + timedelta(seconds=_ASK_AGAIN)
            self._note(replace(removal, pending=left, ask_at=later))
            return replace(told, again=_ASK_AGAIN)
        return self._confirmed(removal)

    def _confirmed(self, removal: ListRemoval) -> Step | None:
        """The partner took everybody off: so do the books, unless a run has seen to it since."""
        if not self.alone:
            return Step(sent=removal.through, acknowledged=removal.through, again=SOON)
        self._note(replace(removal, pending=()))
        known = known_withdrawals(self.remote)
        if known < removal.through:
            digests = self._digests(known, removal.through)
            held = leaving(self._membership(), lambda lines: members_with(lines, digests))
            self._write_off(held, known=removal.through)
        return None

    def _answer(self, link: Link, reference: str) -> Receipt | None:
        """What the partner says of a reference; None where it says that all is done."""
        connector = link.connector
        try:
            with faults_of(connector.name):
                receipt = connector.poll(reference)
        except RefusedError as error:
            return Receipt(accepted=0, lost=True, reason=str(error))
        return receipt if receipt.pending or not _done(receipt) else None

    def _note(self, removal: ListRemoval) -> None:
        self.ledger.save_list_removal(removal, self.held[self.lease])
        self.removal = removal

    def _sent(self, digests: Bytes) -> tuple[list[Lines], bool]:
        """Who withdrew and was perhaps added by runs under way, and whether one is in flight."""
        found, in_flight = [], False
        for run in self._sending:
            for batch, lines in self._additions(run):
                if not batch.attempts:
                    continue
                named = members_with(lines, digests)
                if batch.withheld and not was_sent_before(batch):
                    named &= ~of_members(lines, batch.withheld_positions)
                if named.any():
                    found.append(lines.take(named))
                    in_flight |= batch.state is BatchState.SENDING
        return found, in_flight

    def _additions(self, run: Run) -> Iterator[tuple[Batch, Lines]]:
        outbox: Outbox | None = None
        for batch in self.ledger.batches(run.id):
            if batch.operation is Operation.ADD:
                if outbox is None:
                    outbox = Outbox(self.lane.location, self.lane.keyring, run.id, run.outbox)
                yield batch, outbox.batch(batch.position)

    def _others(self, digests: Bytes) -> Iterator[Lines]:
        """Who stays, or comes: a run beside us may send its additions at any moment."""
        membership = self._membership()
        for partition in range(membership.manifest.partitions):
            lines = membership.read(partition, membership.manifest.partitions)
            yield lines.take(lines.alive & ~members_with(lines, digests))
        for run in self._sending:
            for batch, lines in self._additions(run):
                if batch.attempts or not self.alone:
                    yield lines.take(~members_with(lines, digests))

    def _membership(self) -> Membership:
        manifest = Manifest.of(self.remote.manifest)
        return Membership(self.lane.location, self.lane.keyring, manifest)

    def _write_off(
        self,
        held: Leaving,
        *,
        known: int | None = None,
        emptied: bool = False,
        gone: bool = False,
    ) -> None:
        """Write the membership without those who left; other partitions stay as they are."""
        stored, before = Manifest.of(self.remote.manifest), self._membership()
        place = f"lists/{self.remote.destination}/{self.remote.audience}"
        folder = f"{place}/withdrawn-{self.remote.generation + 1}"
        files, left = {} if emptied else dict(stored.files), 0
        for partition in () if emptied else sorted(held.partitions):
            lines = before.read(partition, stored.partitions)
            rest = lines.take(~held.names(lines))
            left += len(lines.take(lines.alive).starts) - len(rest.take(rest.alive).starts)
            files.pop(partition, None)
            if len(rest):
                path = f"{folder}/{partition}.sealed"
                write_lines(self.lane.location, path, self.lane.keyring, rest)
                files[partition] = path
        if self.lane.leavers is not None:
            name = f"withdrawal from {place}, {self.remote.generation + 1}"
            list_ = self.remote.audience, self.remote.destination
            self.lane.leavers.note_as(name, *list_, held.lines)
        members = 0 if emptied else stored.members - left
        changed = Manifest(stored.partitions, files, members)
        replaced = set(stored.files.values()) - set(files.values())
        if changed == stored and not gone:
            self._save(self.remote, known=self.head if known is None else known)
            return
        self._point(changed, replaced, self.head if known is None else known, gone=gone)

    def _doubt_everybody(self) -> None:
        """Everybody was perhaps taken off: whoever is wanted is sent again by the next run."""
        stored, before = Manifest.of(self.remote.manifest), self._membership()
        place = f"lists/{self.remote.destination}/{self.remote.audience}"
        files = {}
        for partition in stored.files:
            lines = before.read(partition, stored.partitions)
            path = f"{place}/withdrawn-{self.remote.generation + 1}/{partition}.sealed"
            write_lines(self.lane.location, path, self.lane.keyring, lines.marked(lines.alive))
            files[partition] = path
        changed = replace(stored, files=files)
        self._point(changed, set(stored.files.values()), self._known, gone=False)

    def _point(self, manifest: Manifest, replaced: set[str], known: int, *, gone: bool) -> None:
        """Let the ledger point at it; files that open plans were made on stay until these end."""
        remote = self.remote
        kept = set(remote.manifest.get("kept", ())) | replaced
        watched = any(run.state in _OPEN_RUNS for run in self.runs)
        written = dict(remote.manifest) | manifest.as_json()
        written |= {"known": known, "kept": sorted(kept) if watched else []}
        if not gone:
            written |= {"base": remote.manifest.get("base", remote.generation)}
        else:
            written = {"known": known}
        after = replace(
            remote,
            generation=remote.generation + 1,
            members=manifest.members,
            manifest=written,
            remote_id=None if gone else remote.remote_id,
            creation_intended_at=None if gone else remote.creation_intended_at,
        )
        self.remote = self.ledger.save_remote_list(
            after, expect_generation=remote.generation, lease=self.held[self.name]
        )
        for path in () if watched else kept:
            self.lane.location.delete(path)

    def _save(self, remote: RemoteList, *, known: int) -> None:
        manifest = {**remote.manifest, "known": known}
        self.remote = self.ledger.save_remote_list(
            replace(remote, manifest=manifest),
            expect_generation=remote.generation,
            lease=self.held[self.name],
        )


def _naming(each: Mapping[int, Bytes], lines: Sequence[Lines]) -> frozenset[int]:
    """The withdrawals that name any of these members, of whom the partner has something."""
    alive = [part.take(part.alive) for part in lines]
    return frozenset(
        sequence
        for sequence, digests in each.items()
        if any(members_with(part, digests).any() for part in alive)
    )


def _done(receipt: Receipt) -> bool:
    return not (receipt.lost or receipt.unattributed or receipt.rejected)


def _has_state(connector: Connector[Any]) -> bool:
    """Whether a connector has work before the first or after the last upload of a delivery."""
    alone = type(connector)
    return alone.open is not Connector.open or alone.close is not Connector.close
