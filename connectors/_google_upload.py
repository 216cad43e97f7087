"""Uploads to Google: one bad row makes it refuse a whole request, so the others go again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from audience_sync.connector import (
    Members,
    PartnerClient,
    Receipt,
    RefusedError,
    Rejection,
    TemporaryPartnerError,
    Upload,
)
from connectors._google_lists import Lists
from connectors._google_settings import GoogleSettings
from connectors._google_status import Outcome, Reference, Request, outcomes_of, receipt_of
from connectors._google_wire import Envelope, Part, places_of
from connectors._google_words import PER_MINUTE_WAIT, ROW_REASONS

YOUNG = 3600.0  # seconds in which an unknown request id only means "not yet"
TOO_LARGE = 413  # HTTP
PROBES = 300  # requests spent on one batch to leave bad rows out; a minute of Google's quota


@dataclass(frozen=True, slots=True, repr=False)
class Uploads:
    """Changes lists through a destination's client, and reads what became of it."""

    client: PartnerClient
    settings: GoogleSettings

    def change(self, verb: str, upload: Upload, members: Members) -> Receipt:
        """Send a batch to every list that takes any of it.

        Whoever is added needs to be taken by one list; whoever leaves, by each that was asked.
        """
        taken = np.zeros(len(members), dtype=np.bool_)
        reasons: dict[int, str] = {}
        requests: list[Request] = []
        for envelope in self._envelopes(verb, upload):
            for at, request, refused in self._answers(envelope, members):
                good = np.delete(at, list(refused))
                taken[good] = True
                reasons |= {int(at[place]): reason for place, reason in refused.items()}
                if request is not None:
                    requests.append(Request(len(good), request, len(envelope.destinations)))
        if verb == "remove":
            taken[list(reasons)] = False
        rejected = tuple(
            Rejection(position=at, reason=reasons.get(at, "no_usable_identifier"))
            for at in np.flatnonzero(~taken).tolist()
        )
        accepted = len(members) - len(rejected)
        if not requests:
            return Receipt(accepted=accepted, rejected=rejected)
        sent = Reference(int(time.time()), accepted, tuple(requests))
        return replace(sent.pending(self.settings.poll_after), rejected=rejected)

    def drop_stale(self, remote_id: str, before: datetime) -> None:
        """Take off all lists whoever was last added before a time."""
        moment = before.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for _, destinations in self._destinations(remote_id):
            wanted = {"destinations": destinations, "removeAsOfTime": moment, "validateOnly": False}
            self.client.request("POST", "v1/audienceMembers:removeAll", body=orjson.dumps(wanted))

    def poll(self, reference: str) -> Receipt:
        """What became of an upload's requests, once all are done at every destination."""
        sent = Reference.read(reference)
        age = time.time() - sent.at
        if age < self.settings.poll_after:
            return sent.pending(self.settings.poll_after - age)
        done: list[list[Outcome]] = []
        for request in sent.requests:
            try:
                outcomes = self._outcomes(request)
            except RefusedError as error:
                if error.status != 404 or age > YOUNG:  # noqa: PLR2004 - HTTP's own word
                    raise
                return sent.pending(PER_MINUTE_WAIT)
            if outcomes is None:
                return sent.pending(self.settings.poll_after)
            done.append(outcomes)
        return receipt_of(sent, done)

    def _outcomes(self, request: Request) -> list[Outcome] | None:
        found = self.client.request(
            "GET", "v1/requestStatus:retrieve", params={"requestId": request.id}
        ).json()
        return outcomes_of(found.get("requestStatusPerDestination") or (), request)

    def _envelopes(self, verb: str, upload: Upload) -> list[Envelope]:
        return [
            Envelope(verb, part, destinations, upload.consent)
            for part, destinations in self._destinations(upload.remote_id)
        ]

    def _destinations(self, remote_id: str) -> Iterator[tuple[Part, list[dict[str, Any]]]]:
        """One request a part: the lists of all accounts are its destinations."""
        places, owner = places_of(remote_id), Lists(self.client, self.settings).owner
        for part in dict.fromkeys(place.part for place in places):
            chosen = [place for place in places if place.part is part]
            several = len(chosen) > 1
            yield (
                part,
                [owner(one.account).destination(one.number, named=several) for one in chosen],
            )

    def _answers(
        self, envelope: Envelope, members: Members
    ) -> Iterator[tuple[NDArray[np.int64], str | None, dict[int, str]]]:
        """Positions, request id and refusals of each request; bodies too large go by halves."""
        waiting = list(envelope.pieces(members))
        while waiting:
            at = waiting.pop(0)
            batch = members.only(*envelope.part.kinds).take(at)
            try:
                request, refused = self._submit(envelope, batch)
            except RefusedError as error:
                if error.status != TOO_LARGE or len(at) == 1:
                    raise
                waiting[:0] = np.array_split(at, 2)
                continue
            yield at, request, refused

    def _submit(self, envelope: Envelope, batch: Members) -> tuple[str | None, dict[int, str]]:
        """The request id, and the members that Google refuses, with the reason.

        No id where nobody is left to be sent.
        """
        left, refused, probes = np.arange(len(batch)), dict[int, str](), iter(range(PROBES))
        while len(left):
            try:
                return self._sent(envelope, batch.take(left)), refused
            except RefusedError as error:
                if error.code not in ROW_REASONS or next(probes, None) is None:
                    raise
                bad = list(error.rows or self._bad_rows(envelope, batch.take(left), probes))
                if not bad:
                    raise
                refused |= dict.fromkeys(left[bad].tolist(), error.code)
                left = np.delete(left, bad)
        return None, refused

    def _bad_rows(
        self, envelope: Envelope, batch: Members, probes: Iterator[int]
    ) -> tuple[int, ...]:
        """Find rows that Google refuses but does not name, by halves that are only validated.

        Finds none when the probes run out, so that the batch is refused as a whole.
        """
        if len(batch) == 1:
            return (0,)
        bad: list[int] = []
        pieces = np.array_split(np.arange(len(batch)), 2)
        while pieces:
            if next(probes, None) is None:
                return ()
            piece = pieces.pop()
            try:
                self._sent(envelope, batch.take(piece), validate_only=True)
            except RefusedError as error:
                if error.code not in ROW_REASONS:
                    raise
                if error.rows or len(piece) == 1:
                    bad += piece[list(error.rows or (0,))].tolist()
                else:
                    pieces += np.array_split(piece, 2)
        return tuple(sorted(bad))

    def _sent(
        self, envelope: Envelope, batch: Members, *, validate_only: bool = False
    ) -> str | None:
        rows = envelope.rows(batch)
        body = envelope.around(rows.body, validate_only=validate_only)
        try:
            url = f"v1/audienceMembers:{envelope.verb}"
            answer = self.client.request("POST", url, body=body).json()
        except RefusedError as error:
            named = [row for row in error.rows if row < len(rows.positions)]
            positions = tuple(sorted(set(rows.positions[named].tolist())))
            refusal = RefusedError(error.message, error.status, error.code, positions)
        else:
            request = answer.get("requestId")
            if request is None and not validate_only:
                raise TemporaryPartnerError("Google gave no receipt; try again")
            return request if request is None else str(request)
        raise refusal
