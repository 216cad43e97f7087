"""What the answers of Rakuten's tracking endpoint mean; its sheet calls the XML the verdict."""

from __future__ import annotations

import re

from audience_sync.connector import (
    Answer,
    PartnerError,
    Receipt,
    RefusedError,
    Rejection,
    TemporaryPartnerError,
)

DENIED = (
    "Rakuten has not switched on order tracking for this merchant; ask your account manager there"
)
UNKNOWN = "Rakuten does not know this merchant or cannot read the order; check merchant_id"
REFUSED = "Rakuten refuses orders of this merchant; ask your account manager there"
STRANGE = "Rakuten answered something that is not its XML"
BAD = "Rakuten counts every line of the order as bad"
PARTLY = "Rakuten took {} lines or orders and refused {}; the order has {} lines"
NOTHING = "Rakuten counted no line"

_ERROR = re.compile(rb"<error>\s*(.*?)\s*</error>", re.DOTALL)
_COUNTS = re.compile(rb"<(good|bad)>\s*(\d{1,9})\s*</\1>")
_ANSWER = re.compile(rb"^\s*(<\?xml[^>]*\?>\s*)?<response>.*</response>\s*$", re.DOTALL)
_FIRST_ERROR = 400  # HTTP
_BAD_REQUEST = 400
_TIMEOUT, _TOO_EARLY, _TOO_MANY, _SERVER = 408, 425, 429, 500


def explained(answer: Answer) -> PartnerError | None:
    """The error that an answer means; its own words are never repeated."""
    status = answer.status
    if status in (_TIMEOUT, _TOO_EARLY, _TOO_MANY) or status >= _SERVER:
        wait = answer.headers.get("retry-after", "")
        return TemporaryPartnerError(
            "Rakuten cannot answer now", status, retry_after=float(wait) if wait.isdigit() else None
        )
    if status >= _FIRST_ERROR:
        return RefusedError(UNKNOWN if status == _BAD_REQUEST else REFUSED, status)
    if not _ANSWER.match(answer.body):
        return TemporaryPartnerError(STRANGE, status)
    told = _ERROR.search(answer.body)
    if told is None:
        return None
    return RefusedError(DENIED if told[1].lower() == b"access denied" else REFUSED, status)


def counted_nothing(answer: Answer) -> bool:
    """Whether Rakuten says in so many words that it took no line of an order."""
    if not _ANSWER.match(answer.body):
        return False
    good, bad = _counts(answer)
    return _ERROR.search(answer.body) is not None or (bad > 0 and not good)


def verdict(answer: Answer, lines: int) -> Receipt:
    """What the counts say of an order: whether they are of lines or orders is not documented.

    A mixture leaves nobody knowing which, and so does another number than there are.
    """
    good, bad = _counts(answer)
    if good in (1, lines) and not bad:
        return Receipt(accepted=1)
    if bad and not good:
        return Receipt(accepted=0, rejected=(Rejection(position=0, reason=BAD),))
    reason = PARTLY.format(good, bad, lines) if good else NOTHING
    return Receipt(accepted=0, unattributed=1, reason=reason)


def _counts(answer: Answer) -> tuple[int, int]:
    counts = {name: int(number) for name, number in _COUNTS.findall(answer.body)}
    return counts.get(b"good", 0), counts.get(b"bad", 0)
