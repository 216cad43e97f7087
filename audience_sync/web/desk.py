"""The desk that takes requests in: each once, durably before it is answered, the same answer again.

Keys, signatures and bodies are remembered as keyed fingerprints, in the ledger, for all processes.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from audience_sync.errors import AudienceSyncError, ConfigurationError
from audience_sync.ledger.intake import Intake, IntakeReceipt, Seen
from audience_sync.period import Period
from audience_sync.runs.withdrawal_requests import Reception, UnusableError, WithdrawalRequest
from audience_sync.web.answers import Refusal

CONFLICT = 409  # HTTP
AGAIN = 2  # seconds
RETRY = 10  # seconds

_log = logging.getLogger(__name__)


class Progress(Protocol):
    """How far withdrawals are."""

    def __call__(self, withdrawals: Sequence[str]) -> Mapping[str, Any]:
        """Counts and states of these, by their ids; nothing about anybody."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that has proved who sends it.

    `names` are what it is known by when it comes again (its idempotency key, or the words of a
    receipt that has its own time), and `signature` is what only this very request has.
    """

    source: str
    body: bytes = field(repr=False)
    names: tuple[bytes, ...] = field(repr=False)
    signature: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Takes withdrawals in for the web; every method may be called from many threads.

    `keys` make fingerprints: by the first new ones are known, by the others what came before the
    keys were rotated.
    """

    ledger: Intake
    keys: Sequence[bytes] = field(repr=False)
    reception: Reception
    progress: Progress
    wake: Callable[[], None]
    remember: Period
    now: Callable[[], datetime]

    def take(
        self,
        call: Call,
        requests: Sequence[WithdrawalRequest],
        left_out: Mapping[str, int],
        places: Sequence[str],
    ) -> dict[str, Any]:
        """The receipt, once everything is written down; of a request that came before, its own.

        `places` are how a sentence names each of the requests.
        A Refusal where the sender's name for it was used for something else, where somebody sends
        again what was signed once, and where it is being taken in at this moment.
        """
        bodies = self._marks(b"body", call.body)
        named = [mark for name in call.names for mark in self._marks(b"name", name)]
        signed = self._marks(b"signature", call.signature) if call.signature else []
        receipt = f"w-{secrets.token_urlsafe(18)}"
        marks = [*named, *signed]
        until = self.remember.after(self.now())
        seen = self.ledger.begin_intake(call.source, marks, bodies[0], receipt, until)
        if seen:
            known = [one for one in seen if one.mark in named]
            if known:  # whatever it is answered, its signature is spent
                self.ledger.join_intake(call.source, signed, bodies[0], known[0].receipt, until)
            return self._earlier(call.source, known, bodies)
        try:
            found = self._receive(call, receipt, marks[0].hex(), requests, left_out, places)
            self.ledger.end_intake(receipt, call.source, found, until)
        except BaseException:
            self._give_back(receipt)
            raise
        self.count(call.source, "accepted", len(requests))
        self.wake()
        return _shown(found)

    def receipt(self, sources: Collection[str], receipt: str) -> dict[str, Any] | None:
        """How far what a sender handed in is; None when this one handed in nothing of the name."""
        found = self.ledger.intake_receipt(receipt)
        if found is None or found.source not in sources:
            return None
        return {
            **_shown(found.answer),
            "received_at": found.received_at.isoformat(timespec="seconds"),
            "progress": dict(self.progress(_ids(found))),
        }

    def count(self, source: str, outcome: str, count: int = 1) -> None:
        """Count what became of a request; a ledger that does not answer loses the count only."""
        try:
            self.ledger.count_intake(source, outcome, count)
        except AudienceSyncError as error:
            _log.warning("An outcome of /v1/%s was not counted: %s", source, error)

    def _receive(
        self,
        call: Call,
        receipt: str,
        key: str,
        requests: Sequence[WithdrawalRequest],
        left_out: Mapping[str, int],
        places: Sequence[str],
    ) -> dict[str, Any]:
        """Hand the requests over; one that a crash cut off is known again by its place in them."""
        named = [
            replace(request, idempotency_key=f"{call.source} {key} {at}")
            for at, request in enumerate(requests)
        ]
        try:
            received = self.reception.receive(named) if named else None
        except UnusableError as error:
            refusal = _unusable(places[error.places[0]])
            raise self._counted(call.source, refusal) from None
        except ConfigurationError:
            # Its sentence is for the operator, and may name what stands in the request.
            raise self._counted(call.source, _unusable("a withdrawal")) from None
        return {
            "receipt": receipt,
            "withdrawals": len(requests),
            "left_out": dict(left_out),
            "ids": list(received.withdrawals) if received else [],
        }

    def _earlier(
        self, source: str, seen: Sequence[Seen], bodies: Collection[bytes]
    ) -> dict[str, Any]:
        if not seen:
            raise self._counted(
                source,
                Refusal(CONFLICT, "replayed", "this was sent before; sign each request anew"),
            )
        if any(one.body not in bodies for one in seen):
            raise self._counted(
                source,
                Refusal(
                    CONFLICT,
                    "other-body",
                    "this idempotency key came with another body before; choose a new key",
                ),
            )
        if not all(one.answered for one in seen):
            raise Refusal(CONFLICT, "under-way", "this request is being taken in; ask again", AGAIN)
        found = self.ledger.intake_receipt(seen[0].receipt)
        if found is None:
            gone = Refusal(CONFLICT, "replayed", "this was sent before, and its receipt is gone")
            raise self._counted(source, gone)
        self.count(source, "repeated")
        return _shown(found.answer)

    def _counted(self, source: str, refusal: Refusal) -> Refusal:
        self.count(source, refusal.word)
        return refusal

    def _give_back(self, receipt: str) -> None:
        try:
            self.ledger.drop_intake(receipt)
        except AudienceSyncError:
            _log.warning("A request could not be given back; it may be sent again in two minutes")

    def _marks(self, kind: bytes, text: bytes) -> list[bytes]:
        words = kind + b"\0" + text
        return [hmac.new(key, words, hashlib.sha256).digest() for key in self.keys]


def intake_key(fingerprint_key: bytes) -> bytes:
    """The key of the desk's own fingerprints, so that they equal no other ones."""
    return hmac.new(fingerprint_key, b"audience-sync intake v1", hashlib.sha256).digest()


def _unusable(place: str) -> Refusal:
    sentence = (
        f"{place} holds no identifier that can be used, such as a whole e-mail address; none of "
        "the request was taken"
    )
    return Refusal(422, "not-usable", sentence)


def _shown(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in ("receipt", "withdrawals", "left_out")}


def _ids(receipt: IntakeReceipt) -> list[str]:
    return [str(found) for found in receipt.answer["ids"]]
