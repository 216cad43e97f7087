"""Where each canary is, and which of them did not move as it must."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from audience_sync.errors import StateError
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import RemoteList, Run, RunState
from audience_sync.membership.digests import Bytes, partition_of, present
from audience_sync.membership.held import Manifest, Membership
from audience_sync.membership.lines import DOUBTFUL, EXPIRED
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.canaries import Canary
from audience_sync.runs.seeding import identities, written_canaries
from audience_sync.runs.targets import Target

PATIENCE = timedelta(days=2)  # until a sync has followed a turn, and a partner has answered

_DONE = (RunState.DELIVERED, RunState.CONFIRMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """One canary on one list: where it belonged when the list was synced last, and where it is."""

    canary: str
    audience: str
    destination: str
    belongs: bool
    turn_since: datetime
    held: str  # "on the list", "perhaps on the list", "taken off by age", "not on the list"
    held_since: datetime | None
    synced_at: datetime | None
    alert: str | None  # one sentence


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Looks at what we hold; asks no partner."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    identity: Mapping[Kind, str]

    def flights(self, targets: Sequence[Target], now: datetime) -> list[Flight]:
        """Every canary on every list."""
        known: dict[tuple[str, ...], Bytes] = {}  # most lists have the same canaries
        found: list[Flight] = []
        for target in targets:
            names = tuple(canary.name for canary in target.canaries)
            if names and names not in known:
                known[names] = self._keys(target.canaries)
            found += self._of(target, known[names], now) if names else ()
        return found

    def _keys(self, canaries: tuple[Canary, ...]) -> Bytes:
        written = written_canaries(canaries, set(self.identity.items()))
        return identities(written, dict(self.identity))

    def _of(self, target: Target, keys: Bytes, now: datetime) -> Iterator[Flight]:
        remote = self.ledger.remote_list(target.audience, target.destination)
        last = self.ledger.last_run(target.audience, target.destination, _DONE)
        for row, canary in enumerate(target.canaries):
            key = keys[row : row + 1]
            try:
                state, since = self._held(remote, key) if present(key)[0] else (None, None)
            except StateError as error:  # a list that cannot be read keeps nobody from the others
                judged = self._judged(canary, target, last, None, None, now)
                yield replace(judged, held="not known", alert=str(error))
            else:
                yield self._judged(canary, target, last, state, since, now)

    def _held(self, remote: RemoteList, key: Bytes) -> tuple[int | None, datetime | None]:
        manifest = Manifest.of(remote.manifest)
        membership = Membership(self.location, self.keyring, manifest)
        partition = int(partition_of(key, manifest.partitions)[0])
        lines = membership.read(partition, manifest.partitions)
        at = np.flatnonzero((lines.keys == key).all(axis=1))
        if not len(at):
            return None, None
        since = datetime.fromtimestamp(int(lines.since[at[0]]), UTC)
        return int(lines.state[at[0]]), since

    def _judged(
        self,
        canary: Canary,
        target: Target,
        last: Run | None,
        state: int | None,
        since: datetime | None,
        now: datetime,
    ) -> Flight:
        turn = canary.turn(target.audience, now if last is None else last.planned_at)
        words = {None: "not on the list", EXPIRED: "taken off by age", DOUBTFUL: "perhaps on it"}
        return Flight(
            canary=canary.name,
            audience=target.audience,
            destination=target.destination,
            belongs=turn.here,
            turn_since=turn.since,
            held=words.get(state, "on the list"),
            held_since=since,
            synced_at=None if last is None else last.planned_at,
            alert=_stuck(target, last, canary.turn(target.audience, now).since, now)
            or (None if last is None else _misplaced(target, last, state, since, here=turn.here)),
        )


def _misplaced(
    target: Target, last: Run, state: int | None, since: datetime | None, *, here: bool
) -> str | None:
    """What is wrong with where it is after the last sync."""
    on_it = state is not None and state != EXPIRED
    if here and state is None:
        return f"run {last.id} should have added it, and we do not hold it"
    if not here and on_it:
        return f"its turn to leave came before run {last.id}, and it is still held"
    if state == DOUBTFUL:
        return "it was sent without a clear answer; the next sync sends it again"
    allowed = target.expired_before
    if on_it and allowed is not None and since is not None:
        # What counted at the last sync, which was as much earlier as the sync is ago.
        age = last.planned_at - since
        if target.canaries_at is not None and age > target.canaries_at - allowed:
            return f"it is older than members of {target.audience} may become, and still held"
    return None


def _stuck(target: Target, last: Run | None, turned: datetime, now: datetime) -> str | None:
    """What is wrong with how far its list is."""
    if last is None:
        return None
    if last.state is RunState.DELIVERED and now - (last.finished_at or now) > PATIENCE:
        return f"{target.destination} has not confirmed run {last.id} for {_days(last, now)} days"
    if last.planned_at < turned and now - turned > PATIENCE:
        return f"its turn came on {turned:%Y-%m-%d}, and no sync has ended well since"
    return None


def _days(run: Run, now: datetime) -> int:
    return (now - (run.finished_at or now)).days
