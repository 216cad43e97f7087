"""The laws in plain Python, slow and obvious, for the pipeline to agree with (L1, L2, L3, L4)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]
DENIALS = {"objected": (3, 4), "withdrawn": (4, 3), "denied": (5, 2)}  # reason, strength
REASONS = {
    "objected": "objected",
    "withdrawn": "consent_withdrawn",
    "denied": "consent_denied",
}
KNOWN = ("memory", "absent")  # partners that there are, whether or not they are synced now
LATEST = "2026-11-23"  # a grant dated later than this is not believed
KINDS = ("email", "phone", "idfa")
FOREVER = float("inf")
NEVER = -float("inf")


def said(row: Row, decisions: Sequence[Row], partner: str) -> tuple[str | None, float]:
    """A customer's latest explicit word and when; a denial at an unknown time is the latest."""
    words = [(row["consent"], row["consent_at"])]
    for decision in decisions:
        if decision["customer_id"] != row["customer_id"]:
            continue
        limited = decision["partner"]
        unknown = limited is not None and limited not in KNOWN
        if limited in (None, partner) or (unknown and decision["decision"] in DENIALS):
            words.append((decision["decision"], decision["decided_at"]))
    explicit = [
        (rank(word, at), strength(word), word)
        for word, at in words
        if word is not None and not (word == "granted" and at is not None and at > LATEST)
    ]
    if not explicit:
        return None, NEVER
    at, _, word = max(explicit)
    return word, at


def rank(word: str, at: str | None) -> float:
    if at is None:
        return FOREVER if word in DENIALS else -1.0
    return datetime.fromisoformat(at).timestamp()


def strength(word: str) -> int:
    return DENIALS[word][1] if word in DENIALS else 1


def judge(rows: Sequence[Row], decisions: Sequence[Row], partner: str) -> list[str | None]:
    """The drop reason of each row before audiences and identifiers; None may be sent."""
    words = [said(row, decisions, partner) for row in rows]
    own = [own_reason(row, word) for row, (word, _) in zip(rows, words, strict=True)]
    denied: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    granted: dict[tuple[str, str], float] = defaultdict(lambda: NEVER)
    for row, (word, at), reason in zip(rows, words, own, strict=True):
        for identifier in identifiers_of(row):
            if word in DENIALS:
                denied[identifier].append((at, str(word)))
            elif reason is None:
                granted[identifier] = max(granted[identifier], at)
    return [
        reason or shared_reason(row, denied, granted) for row, reason in zip(rows, own, strict=True)
    ]


def own_reason(row: Row, word: str | None) -> str | None:
    """Why a row is dropped for what it says itself."""
    if row["account_status"] == "closed":
        return "account_closed"
    if word in DENIALS:
        return REASONS[str(word)]
    return None if word == "granted" else "no_consent"


def shared_reason(
    row: Row,
    denied: Mapping[tuple[str, str], list[tuple[float, str]]],
    granted: Mapping[tuple[str, str], float],
) -> str | None:
    """Why a row is dropped for what somebody said of an identifier that it carries."""
    found = []
    for identifier in identifiers_of(row):
        refusals = denied.get(identifier)
        if refusals and max(refusals)[0] >= granted.get(identifier, NEVER):
            latest = max(refusals)[0]
            found += [(DENIALS[word][0], word) for at, word in refusals if at == latest]
    return REASONS[min(found)[1]] if found else None


def identifiers_of(row: Row) -> list[tuple[str, str]]:
    """The identifiers of a row, by kind."""
    return [(kind, row[kind]) for kind in KINDS if row[kind] is not None]


def wanted(
    rows: Sequence[Row], decisions: Sequence[Row], partner: str
) -> tuple[set[str], dict[str, int]]:
    """The identifiers that the partner must hold, and the funnel."""
    identifiers: set[str] = set()
    funnel: dict[str, int] = defaultdict(int)
    people: set[str] = set()
    for row, reason in zip(rows, judge(rows, decisions, partner), strict=True):
        funnel["rows_read"] += 1
        if reason is not None:
            funnel[reason] += 1
        elif row["market"] != "SE":
            funnel["not_in_audience"] += 1
        elif row["email"] is None and row["phone"] is None:
            funnel["no_usable_identifier"] += 1
        else:
            person = row["email"] or row["phone"]
            funnel["merged" if person in people else "members"] += 1
            people.add(person)
            identifiers |= {digest(row["email"]), digest(strip(row["phone"]))} - {""}
    return identifiers, dict(funnel)


def digest(text: str | None) -> str:
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def strip(phone: str | None) -> str | None:
    return phone.removeprefix("+") if phone else None
