"""Receipts of consent platforms: which purposes somebody withdraws, in shapes that settings say.

Where a word stands is a setting of each platform. Nothing is guessed: what is not understood is
refused in one sentence, or counted where the rest of a receipt is understood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from audience_sync.project.webhooks import ALL, NONE, Platform
from audience_sync.runs.withdrawal_requests import WithdrawalRequest
from audience_sync.web.answers import Refusal
from audience_sync.web.generic import LONGEST, WRONG, refuse_too_many

MOST_ANSWERS = 1_000  # in one receipt
_MILLISECONDS = 100_000_000_000  # a larger number counts milliseconds; as seconds, year 5138

Partners = tuple[str | None, ...]  # None stands for all


@dataclass(frozen=True, slots=True)
class Read:
    """What receipts ask for: withdrawals, and what was left out, counted by word.

    `places` tell where each of the requests stands, as a sentence names it.
    """

    requests: list[WithdrawalRequest] = field(repr=False)
    left_out: Counter[str] = field(default_factory=Counter)
    places: list[str] = field(default_factory=list)


def read_receipts(
    document: Any, platform: Platform, channel: str, batch_limit: int, now: datetime, ahead: float
) -> Read:
    """The withdrawals in one receipt, or in a list of them; a Refusal when none is understood.

    A receipt that grants, and one that only concerns purposes set to `none`, asks for nothing.
    """
    receipts = document if isinstance(document, list) else [document]
    refuse_too_many(receipts, batch_limit)
    if not receipts:
        raise _refusal("the body", "holds no receipt")
    read = Read([])
    reader = _Reader(platform, channel, now + timedelta(seconds=ahead))
    for at, receipt in enumerate(receipts):
        place = f"receipt {at + 1}" if isinstance(document, list) else "the receipt"
        read.requests.extend(reader.withdrawals(receipt, place, read.left_out))
        read.places.extend([place] * (len(read.requests) - len(read.places)))
    refuse_too_many(read.requests, batch_limit)
    unknown = read.left_out["unknown_purpose"] or read.left_out["unknown_answer"]
    if unknown and not read.requests:
        raise _refusal(
            "the receipt",
            "has no purpose and answer that `purposes:`, `refused:` and `granted:` know",
            "unknown-purpose",
        )
    return read


@dataclass(frozen=True, slots=True)
class _Reader:
    platform: Platform
    channel: str
    latest: datetime

    def withdrawals(
        self, receipt: Any, place: str, left_out: Counter[str]
    ) -> Iterator[WithdrawalRequest]:
        partners = self._partners(receipt, place, left_out)
        if not partners:
            return
        named = self._subject(receipt, place)
        decided_at = self._time(receipt, place)
        for partner in (None,) if None in partners else dict.fromkeys(partners):
            yield WithdrawalRequest(
                **named, partner=partner, decided_at=decided_at, channel=self.channel
            )

    def _partners(self, receipt: Any, place: str, left_out: Counter[str]) -> list[str | None]:
        answers = _at(receipt, self.platform.decisions)
        if not isinstance(answers, list) or not 0 < len(answers) <= MOST_ANSWERS:
            raise _refusal(place, "has no list of answers where `decisions:` says")
        found: list[str | None] = []
        for answer in answers:
            found.extend(self._withdrawn(answer, left_out))
        return found

    def _withdrawn(self, answer: Any, left_out: Counter[str]) -> Sequence[str | None]:
        purpose = _text(_at(answer, self.platform.purpose))
        said = _word(_at(answer, self.platform.answer))
        if said is not None and said in map(_word, self.platform.granted):
            return ()
        partners = self.platform.purposes.get(purpose or "")
        if partners is None:
            left_out["other_purpose" if self._ignores else "unknown_purpose"] += 1
            return ()
        if partners == NONE:
            return ()
        if said not in set(map(_word, self.platform.refused)):
            left_out["unknown_answer"] += 1
            return ()
        return (None,) if partners == ALL else tuple(partners)

    @property
    def _ignores(self) -> bool:
        return self.platform.other_purposes == "ignore"

    def _subject(self, receipt: Any, place: str) -> dict[str, str]:
        found: dict[str, str] = {
            kind: text.strip()
            for kind, path in self.platform.subject.items()
            if (text := _text(_at(receipt, path))) and text.strip()
        }
        if not found:
            raise _refusal(place, "names nobody where `subject:` says")
        if any(len(text) > LONGEST for text in found.values()):
            raise _refusal(place, "holds an identifier that is too long")
        return found

    def _time(self, receipt: Any, place: str) -> datetime | None:
        if self.platform.at is None:
            return None
        moment = _moment(_at(receipt, self.platform.at))
        if moment is None:
            raise _refusal(place, "has no time where `at:` says")
        if moment > self.latest:
            raise _refusal(place, "was decided in the future; check the clock")
        return moment


def _at(found: Any, path: str | None) -> Any:
    for step in path.split(".") if path else ():
        found = found.get(step) if isinstance(found, dict) else None
    return found if path else None


def _text(found: Any) -> str | None:
    if isinstance(found, bool) or not isinstance(found, str | int):
        return None
    return str(found) or None


def _word(found: Any) -> str | bool | None:
    """An answer in the way that it is compared: words in any case, true and false as themselves."""
    if isinstance(found, str):
        return found.strip().upper()
    return found if isinstance(found, bool) else None


def _moment(found: Any) -> datetime | None:
    """Epoch seconds or milliseconds, or ISO 8601 with a zone."""
    try:
        if isinstance(found, str) and not found.isdigit():
            moment = datetime.fromisoformat(found)
            return moment if moment.tzinfo is not None else None
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            return None
        number = float(found)
        seconds = number / 1000 if number > _MILLISECONDS else number
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _refusal(place: str, sentence: str, word: str = "not-understood") -> Refusal:
    return Refusal(WRONG, word, f"{place} {sentence}; nothing was taken")
