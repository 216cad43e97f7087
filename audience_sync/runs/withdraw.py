"""A withdrawal enters: recorded at once, so that nothing is added any more of those it names."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from audience_sync.customers.policy import microseconds
from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.receiving import OvertakenError
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.digests import Bytes, Mask, match
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.holding import NOBODY
from audience_sync.runs.named import CUSTOMERS, FOLDER, Named, Times, write_named
from audience_sync.runs.standing import Gathered, Standing, customer_keys, write_all_forms
from audience_sync.runs.withdrawal_requests import (
    UNKNOWN_CHANNEL,
    Received,
    Rules,
    UnusableError,
    WithdrawalRequest,
    decision_times,
    frame_of,
    times,
)
from audience_sync.runs.withdrawal_rows import Rows

DECISIONS = "decisions"  # where withdrawals enter that the watch finds
_LOG = "consent log"
_FAR_AHEAD = "consent log, dated ahead"  # by more than clocks differ: kept apart, and few
_AHEAD = timedelta(days=1)  # that the clock of a source may be


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """Takes withdrawals in; what it answers is durable. Nothing is sent here."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    fingerprint_key: bytes = field(repr=False)
    rules: Rules
    now: Callable[[], datetime] = field(repr=False)

    def receive(self, requests: Sequence[WithdrawalRequest], *, source: str = "web") -> Received:
        """Record withdrawals before returning: from then on nobody named is added anywhere.

        UnusableError where a request names nobody or holds no usable identifier, and any
        ConfigurationError where it names a partner that nobody knows; then none of the requests
        was taken in. StateError where it cannot be recorded: the caller tries again. `source` says
        where they entered.
        """
        partners = [self.rules.partner(one.partner) for one in requests]
        while True:
            known = self._known(requests)
            fresh = self._fresh(list(zip(requests, partners, strict=True)), known)
            try:
                return self._received(fresh, known, requests, source)
            except OvertakenError:  # another process took one of them in between
                continue

    def receive_frames(
        self,
        frames: Iterable[pl.DataFrame],
        *,
        partner: str | None = None,
        source: str = "cli",
        channel: str = UNKNOWN_CHANNEL,
    ) -> Received:
        """Record the people of a file together, as one withdrawal, however many they are.

        Columns are `customer_id`, `email`, `phone`, `device`, `country` and `decided_at`
        (microseconds), any of them, and those of `Rows`. Rows without a usable identifier are
        counted.
        """
        limited, gathered, rows = self.rules.partner(partner), Gathered(), Rows()
        for frame in frames:
            now = self.now()
            at = times(frame, now)
            rows.add(frame, self._take(frame, at, gathered), at < microseconds(now))
        if not rows.people:
            raise ConfigurationError(
                "nobody withdraws: no row holds an identifier that can be read; name the columns "
                "customer_id, email, phone or device"
            )
        made, named = self._made(gathered, rows.people, limited, channel, source)
        self._write([(made, named)], {})
        return rows.received(made.id)

    def _fresh(
        self,
        requests: Sequence[tuple[WithdrawalRequest, str | None]],
        known: Collection[bytes],
    ) -> list[tuple[WithdrawalRequest, str | None]]:
        """Those that nobody sent before, here or earlier."""
        seen, fresh = set(known), []
        for request in requests:
            mark = self._mark(request[0])
            if mark is None or mark not in seen:
                fresh.append(request)
            if mark is not None:
                seen.add(mark)
        return fresh

    def receive_decisions(
        self, frame: pl.DataFrame, partner: str | None, since: datetime
    ) -> Received:
        """Record refusals of customers that the source of decisions holds, each of them once.

        Columns are `customer_id` and `decided_at`, none of which is before `since`. Those that are
        known with this time or a later one, from an earlier look, are left out.
        """
        limited, now = self.rules.partner(partner), self.now()
        at: Times = frame["decided_at"].fill_null(microseconds(now)).to_numpy()
        keys = customer_keys(frame["customer_id"])
        customers, then = self._decided(limited, since - _AHEAD)
        place = match(keys, customers)
        fresh = place < 0
        fresh[~fresh] = then[place[~fresh]] < at[~fresh]
        ahead = at > microseconds(now + _AHEAD)
        written, people = [], 0
        for rows, channel in ((fresh & ~ahead, _LOG), (fresh & ahead, _FAR_AHEAD)):
            gathered = Gathered()
            if usable := into_customers(gathered, keys[rows], at[rows]):
                written.append(self._made(gathered, usable, limited, channel, DECISIONS))
                people += usable
        self._write(written, {})
        ids = tuple(made.id for made, _ in written)
        return Received(withdrawals=ids, people=people, repeated=int((~fresh).sum()))

    def _decided(self, partner: str | None, since: datetime) -> tuple[Bytes, Times]:
        """The customers whom earlier looks found, and what time their decisions bore.

        A row that is dated far ahead is looked at until its time has come, however long ago it was
        taken in first.
        """
        found = self.ledger.withdrawals_from(DECISIONS, partner, since, or_by=_FAR_AHEAD)
        said = Standing(self.ledger, self.location, self.keyring).said(found)
        return said.get(CUSTOMERS, (NOBODY, np.empty(0, dtype=np.int64)))

    def _known(self, requests: Sequence[WithdrawalRequest]) -> dict[bytes, str]:
        marks = {mark for one in requests if (mark := self._mark(one)) is not None}
        return self.ledger.withdrawn_under(marks) if marks else {}

    def _mark(self, request: WithdrawalRequest) -> bytes | None:
        """A keyed fingerprint of an idempotency key, which may itself name somebody."""
        if request.idempotency_key is None:
            return None
        words = b"withdrawal " + request.idempotency_key.encode("utf-8", "surrogatepass")
        return hmac.new(self.fingerprint_key, words, hashlib.sha256).digest()

    def _received(
        self,
        fresh: Sequence[tuple[WithdrawalRequest, str | None]],
        known: Mapping[bytes, str],
        requests: Sequence[WithdrawalRequest],
        source: str,
    ) -> Received:
        """Write down those of the `requests` that are fresh."""
        groups: dict[tuple[str | None, str], list[WithdrawalRequest]] = {}
        for one, partner in fresh:
            groups.setdefault((partner, one.channel), []).append(one)
        written: list[tuple[Withdrawal, Named]] = []
        marks: dict[bytes, str] = {}
        unusable: set[int] = set()
        for (partner, channel), some in groups.items():
            gathered = Gathered()
            frame = frame_of(some)
            usable = self._take(frame, decision_times(some, self.now()), gathered)
            unusable |= {id(some[row]) for row in np.flatnonzero(~usable)}
            made, named = self._made(gathered, len(some), partner, channel, source)
            written.append((made, named))
            marks |= {mark: made.id for one in some if (mark := self._mark(one)) is not None}
        if unusable:
            places = [at for at, one in enumerate(requests) if id(one) in unusable]
            raise UnusableError(
                f"{len(places)} of the withdrawals name nobody: give a customer id, "
                "e-mail, phone or device that can be read; nothing was taken in",
                places,
            )
        self._write(written, marks)
        ids = (*(made.id for made, _ in written), *sorted(set(known.values())))
        return Received(withdrawals=ids, people=len(fresh), repeated=len(requests) - len(fresh))

    def _take(self, frame: pl.DataFrame, at: Times, into: Gathered) -> Mask:
        """Take in what a frame names; which rows name somebody."""
        usable = np.zeros(frame.height, dtype=np.bool_)
        given = frame.rename({"device": Kind.IDFA.value}) if "device" in frame.columns else frame
        if "customer_id" in given.columns:
            keys = customer_keys(given["customer_id"])
            usable |= into.put(CUSTOMERS, keys, at)
            columns = self.rules.source.columns
            if columns.get(Kind.EXTERNAL_ID.value) == columns["customer_id"]:
                given = given.with_columns(
                    pl.col("customer_id").cast(pl.String).alias(Kind.EXTERNAL_ID.value)
                )
        # What is withdrawn is given raw, whatever the source holds.
        usable |= write_all_forms(
            given,
            at,
            into,
            default_country=self.rules.default_country,
            hashed={},
            raw=self.rules.raw,
        )
        return usable

    def _made(
        self, gathered: Gathered, people: int, partner: str | None, channel: str, source: str
    ) -> tuple[Withdrawal, Named]:
        named = gathered.told()
        made = self.ledger.new_withdrawal_id()
        return Withdrawal(
            id=made,
            received_at=self.now(),
            source=source,
            channel=channel,
            partner=partner,
            people=people,
            customers=len(named[CUSTOMERS][0]) if CUSTOMERS in named else 0,
            identifiers=sum(len(values) for values, _ in named.values()),
            file=f"{FOLDER}/{made}.sealed",
        ), named

    def _write(
        self, written: Sequence[tuple[Withdrawal, Named]], marks: Mapping[bytes, str]
    ) -> None:
        """The files first: what the ledger names can be read."""
        if not written:
            return
        for made, named in written:
            write_named(self.location, self.keyring, made.file, named)
        places = self.rules.places()
        destinations = {
            made.id: [
                name
                for name, partner in places.items()
                if made.partner is None or partner in (None, made.partner)
            ]
            for made, _ in written
        }
        try:
            self.ledger.receive_withdrawals([one for one, _ in written], destinations, marks)
        except OvertakenError:
            for made, _ in written:
                self.location.delete(made.file)
            raise


def into_customers(gathered: Gathered, keys: Bytes, at: Times) -> int:
    """Take customers in by their keys; how many have one."""
    return int(gathered.put(CUSTOMERS, keys, at).sum())
