"""What is held of one person, and what was: from any identifier, without the customer base.

A person's e-mail is their identity, so one partition of each list tells whether it holds them. By
phone, device or another id the memberships are read whole first, and then, once it is known whose
they are, one partition of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import polars as pl

from audience_sync.errors import ConfigurationError, StateError
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.writing import write_forms
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import OPEN_STATES, Operation, RemoteList, Run, RunState
from audience_sync.ledger.traces import Trace
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.digests import Bytes, partition_of, present, rows_at
from audience_sync.membership.held import Manifest, Membership
from audience_sync.membership.lines import DOUBTFUL, EXPIRED, Lines, join
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import Outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.holding import NOBODY, members_with, united
from audience_sync.runs.leaving import Before, Leaving, Recorded
from audience_sync.runs.standing import Gathered, Standing, customer_keys, write_all_forms
from audience_sync.runs.traces import prints_of
from audience_sync.runs.whole import sends_everybody

_STATES = {EXPIRED: "taken off by age", DOUBTFUL: "perhaps held"}
_SENT = (RunState.DELIVERING, RunState.DELIVERED, RunState.CONFIRMED, RunState.FAILED)
_DONE = (RunState.DELIVERED, RunState.CONFIRMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The identifiers by which somebody is asked for; prints none of them."""

    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    device: str | None = field(default=None, repr=False)
    customer_id: str | None = field(default=None, repr=False)
    country: str | None = field(default=None, repr=False)

    def frame(self, *, known_by_id: bool) -> pl.DataFrame:
        """One row, as a source would have it."""
        external = self.customer_id if known_by_id else None
        columns = {
            "email": self.email, "phone": self.phone, "idfa": self.device, "gaid": self.device,
            "external_id": external, "country": self.country,
        }  # fmt: skip
        return pl.DataFrame(
            {name: [value] for name, value in columns.items()},
            schema=dict.fromkeys(columns, pl.String),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A list that holds the person; `judged_at` is when their decision was last read as a grant.

    `removed_for` is the withdrawal for which they are being taken off.
    """

    audience: str
    destination: str
    remote_id: str | None
    state: str
    since: datetime
    kinds: tuple[str, ...]
    runs: tuple[str, ...]  # that sent them there
    decision: str
    judged_at: datetime | None
    removed_for: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is known of a person."""

    held: tuple[Place, ...]
    before: tuple[Before, ...]
    waiting: tuple[Run, ...]  # plans and deliveries whose outbox names them
    withdrawn: tuple[Recorded, ...]  # withdrawals that name them
    digests: Bytes = field(repr=False)  # every identifier of theirs that we found, see `united`


@dataclass(frozen=True, kw_only=True)
class Subjects:
    """Finds people; sends nothing and changes nothing."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    fingerprint_keys: Sequence[bytes] = field(repr=False)
    identity: Mapping[Kind, str]
    hashed: Mapping[Kind, str]
    known_by_id: bool  # whether partners know customers by the id that we have
    default_country: str | None
    partner_of: Callable[[str], str | None]  # a destination's connector; None where it is gone
    look_up: Callable[[str], pl.DataFrame | None] = field(repr=False)  # a customer in the source
    now: Callable[[], datetime] = field(repr=False)

    def find(self, person: Person) -> Findings:
        """Everything known of whoever has one of these identifiers."""
        gathered, keys, whole = self._named(person)
        customer = self._customer(person)
        told = [values for values, _ in gathered.told().values()]
        digests = united([*told, self._withdrawn_as(customer)])
        if not len(digests) and not len(customer):
            raise ConfigurationError(
                "nobody can be looked for: none of the values is an e-mail, phone number, device "
                "or customer id that can be read"
            )
        return self._found(digests, keys, customer, whole=whole)

    def find_again(self, withdrawal: Withdrawal) -> Findings:
        """Everything known of those whom a withdrawal names."""
        theirs = [self.ledger.withdrawal(withdrawal.id)]
        if (number := theirs[0].resolved_by) not in (None, withdrawal.sequence):
            theirs += self.ledger.withdrawals(after=number - 1, through=number)
        digests = self._standing.digests_of(theirs)
        return self._found(digests, digests, NOBODY, whole=True)

    def _found(self, digests: Bytes, keys: Bytes, customer: Bytes, *, whole: bool) -> Findings:
        lists = self.ledger.remote_lists()
        found = dict(self._held(lists, keys, digests, whole=whole))
        everything = united([digests, *_identifiers(found.values())])
        more = united([keys, *(lines.keys for lines in found.values())])
        rest = [number for number in range(len(lists)) if number not in found]
        found |= dict(self._held(lists, more, everything, whole=False, only=rest))
        everything = united([everything, *_identifiers(found.values())])
        withdrawn = self._standing.naming(united([everything, customer]))
        there = [(lists[at], lines) for at, lines in sorted(found.items())]
        held = tuple(self._place(remote, lines) for remote, lines in there)
        return Findings(
            held=held,
            before=tuple(self._leaving.before(self._before(everything), withdrawn, held)),
            waiting=tuple(self._waiting(everything)),
            withdrawn=tuple(self._leaving.recorded(withdrawn, there, self.partner_of)),
            digests=everything,
        )

    @property
    def _standing(self) -> Standing:
        return Standing(self.ledger, self.location, self.keyring)

    @property
    def _leaving(self) -> Leaving:
        return Leaving(self.ledger, self._standing)

    def _named(self, person: Person) -> tuple[Gathered, Bytes, bool]:
        """Digests in all forms, identities, and whether memberships are to be read whole."""
        gathered, keys = Gathered(), [NOBODY]
        frames = [(person.frame(known_by_id=self.known_by_id), dict[Kind, str]())]
        row = None if person.customer_id is None else self.look_up(person.customer_id)
        if row is not None and row.height:
            frames.append((row, dict(self.hashed)))
        for frame, hashed in frames:
            country = self.default_country
            at = np.zeros(frame.height, dtype=np.int64)
            write_all_forms(frame, at, gathered, default_country=country, hashed=hashed, raw=True)
            forms = list(self.identity.items())
            keys += write_forms(frame, forms, default_country=country, hashed=hashed).values()
        others = (person.phone, person.device, person.customer_id)
        by_email = person.email is not None and all(value is None for value in others)
        return gathered, united(keys), not (by_email and Kind.EMAIL in self.identity)

    def _customer(self, person: Person) -> Bytes:
        """By what withdrawals know a customer id, which the source may not have any more."""
        keys = customer_keys(pl.Series([person.customer_id], dtype=pl.String))
        return rows_at(keys, present(keys))

    def _withdrawn_as(self, customer: Bytes) -> Bytes:
        """What the source had of a customer who withdrew alone by this id."""
        naming = self._standing.naming(customer) if len(customer) else []
        alone = [one for one in naming if one.people == 1]
        theirs = self.ledger.withdrawals_under([one.sequence for one in alone])
        return self._standing.digests_of([*alone, *theirs])

    def _held(
        self,
        lists: Sequence[RemoteList],
        keys: Bytes,
        digests: Bytes,
        *,
        whole: bool,
        only: Sequence[int] | None = None,
    ) -> Iterator[tuple[int, Lines]]:
        """The lines of these people, by the number of the list that holds them."""
        for number in range(len(lists)) if only is None else only:
            manifest = Manifest.of(lists[number].manifest)
            membership = Membership(self.location, self.keyring, manifest)
            wanted: Sequence[int] = range(manifest.partitions)
            if not whole:
                wanted = np.unique(partition_of(keys, manifest.partitions)).tolist()
            parts = [membership.read(partition, manifest.partitions) for partition in wanted]
            named = [part.take(members_with(part, digests)) for part in parts]
            full = [part for part in named if len(part)]
            if full:
                yield number, join(full)

    def _place(self, remote: RemoteList, lines: Lines) -> Place:
        since = datetime.fromtimestamp(int(lines.since.min()), UTC)
        runs = self.ledger.runs(audience=remote.audience, destination=remote.destination)
        sent = sorted(
            (run for run in runs if run.state in _SENT and run.outbox and run.planned_at >= since),
            key=lambda run: run.planned_at,
        )
        through = [run.id for place, run in enumerate(sent) if not place or sends_everybody(run)]
        judged = [run.planned_at for run in runs if run.state in _DONE]
        kinds = [kind.value for kind, values in lines.columns.items() if values.any()]
        partner = self.partner_of(remote.destination)
        state, removed_for = self._leaving.of(remote, lines, partner) or (None, None)
        return Place(
            audience=remote.audience,
            destination=remote.destination,
            remote_id=remote.remote_id,
            state=state or _STATES.get(int(lines.state.max()), "held"),
            since=since,
            kinds=tuple(kinds),
            runs=tuple(through),
            decision="granted" if removed_for is None else "withdrawn",
            judged_at=max(judged, default=None) if removed_for is None else None,
            removed_for=removed_for,
        )

    def _before(self, digests: Bytes) -> list[Trace]:
        destinations = sorted({remote.destination for remote in self.ledger.remote_lists()})
        found = []
        for destination in destinations:
            prints = prints_of(digests, self.fingerprint_keys, destination)
            found += self.ledger.traces(destination, prints, self.now())
        return sorted(found, key=lambda trace: trace.removed_at)

    def _waiting(self, digests: Bytes) -> Iterator[Run]:
        """Runs whose outbox, which is destroyed when they end, names the person."""
        for run in self.ledger.runs(states=[*OPEN_STATES, RunState.DELIVERED]):
            batches = self.ledger.batches(run.id)
            if run.outbox is None or any(b.operation is Operation.REPORT for b in batches):
                continue
            try:
                outbox = Outbox(self.location, self.keyring, run.id, run.outbox)
                if any(members_with(outbox.batch(b.position), digests).any() for b in batches):
                    yield run
            except StateError:
                if self.ledger.run(run.id).state is run.state:
                    raise  # else it ended meanwhile, and its outbox is gone


def _identifiers(lines: Iterable[Lines]) -> Iterator[Bytes]:
    for part in lines:
        yield part.keys
        yield from part.columns.values()
