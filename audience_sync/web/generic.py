"""Withdrawals in JSON of our own: `{"withdrawals": [{"email": …}, …]}`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from audience_sync.identifiers.countries import has_phones
from audience_sync.runs.withdrawal_requests import WithdrawalRequest
from audience_sync.web.answers import Refusal

WRONG = 422  # HTTP
IDENTIFIERS = ("customer_id", "email", "phone", "device")
CHANNEL = "webhook"
LONGEST = 512  # characters of an identifier


def _stripped(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("string_too_short", "is empty")
    return text.strip()


Identifier = Annotated[str, StringConstraints(max_length=LONGEST), AfterValidator(_stripped)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]

_SENTENCES = {
    "missing": "is missing",
    "string_type": "should be text",
    "string_too_short": "is empty",
    "string_too_long": "is too long",
    "string_pattern_mismatch": "should be a short word of a-z, 0-9, _ and -",
    "timezone_aware": "needs a time zone, such as Z",
    "list_type": "should be a list",
    "too_short": "is empty",
}
_NOT_A_COUNTRY = "should be an ISO 3166 code such as SE"
_NOT_A_TIME = "should be a time such as 2026-11-22T12:00:00Z"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=True)


class Withdrawal(_Model):
    """One person's withdrawal as it is written; never prints an identifier."""

    customer_id: Identifier | None = Field(None, repr=False)
    email: Identifier | None = Field(None, repr=False)
    phone: Identifier | None = Field(None, repr=False)
    device: Identifier | None = Field(None, repr=False)
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    partner: Word | None = None
    decided_at: Annotated[AwareDatetime, Field(strict=False)] | None = None
    channel: Word = CHANNEL


class Body(_Model):
    """The whole body."""

    withdrawals: list[Withdrawal] = Field(min_length=1, repr=False)


def read_withdrawals(
    document: Any, partners: Collection[str], batch_limit: int, now: datetime, ahead: float
) -> list[WithdrawalRequest]:
    """What is asked for; a Refusal names the place and what is right there, never its value.

    A decision may be later than now by as much as clocks may differ, since one that lies in the
    future would outlive every consent that is given until then.
    """
    if isinstance(document, dict):
        refuse_too_many(document.get("withdrawals"), batch_limit)
    try:
        body = Body.model_validate(document)
    except ValidationError as error:
        raise _wrong(error) from None
    latest = now + timedelta(seconds=ahead)
    for at, found in enumerate(body.withdrawals):
        _check(found, f"withdrawals[{at}]", partners, latest)
    return [WithdrawalRequest(**found.model_dump()) for found in body.withdrawals]


def place_of(request: WithdrawalRequest, at: int) -> str:
    """Where a withdrawal stands, down to its identifier where it has only one."""
    given = [name for name in IDENTIFIERS if getattr(request, name) is not None]
    return f"withdrawals[{at}]" + (f".{given[0]}" if len(given) == 1 else "")


def refuse_too_many(found: Any, batch_limit: int) -> None:
    """A Refusal before anything is read of a list that is too long."""
    if isinstance(found, list) and len(found) > batch_limit:
        raise Refusal(
            413,
            "too-many",
            f"send at most {batch_limit:,} withdrawals in one request; none was taken",
        )


def _check(found: Withdrawal, place: str, partners: Collection[str], latest: datetime) -> None:
    if all(getattr(found, name) is None for name in IDENTIFIERS):
        raise _refusal(place, f"names nobody; write one of {', '.join(IDENTIFIERS)}")
    if found.country is not None and not has_phones(found.country):
        raise _refusal(f"{place}.country", _NOT_A_COUNTRY)
    if found.partner is not None and found.partner not in partners:
        raise _refusal(f"{place}.partner", f"is not known; known are {', '.join(sorted(partners))}")
    if found.decided_at is not None and found.decided_at > latest:
        raise _refusal(f"{place}.decided_at", "lies in the future; check the clock")


def _wrong(error: ValidationError) -> Refusal:
    """The first thing that pydantic found. A key that nobody knows is not named: it is input."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind, steps = first["type"], list(first["loc"])
    if kind == "extra_forbidden":
        known = Withdrawal.model_fields if steps[1:] else Body.model_fields
        return _refusal(_place(steps[:-1]), f"has an unknown key; known are {', '.join(known)}")
    if kind in ("model_type", "model_attributes_type"):
        return _refusal(_place(steps), "should be an object")
    sentence = _SENTENCES.get(kind, _NOT_A_TIME if "date" in kind else "is not right")
    if steps[-1:] == ["country"]:
        sentence = _NOT_A_COUNTRY
    return _refusal(_place(steps), sentence)


def _place(steps: list[int | str]) -> str:
    written = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return written.lstrip(".") or "the body"


def _refusal(place: str, sentence: str) -> Refusal:
    return Refusal(WRONG, "not-understood", f"{place} {sentence}; nothing was taken")
