"""Names, titles and conditions that tell more of people than they may: Art. 9, 10 and 8 GDPR.

The words and the reasons are in `sensitive.json`, in English, German, Swedish, Danish and
Norwegian. A list of words finds hints, not truths: a finding warns, and may be acknowledged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

from audience_sync.project.model import Audience, Project

_WORD = re.compile(r"[^\W_]+")  # letters and digits, of any script
_HUMP = re.compile(r"(?<=[a-zæøåäöüß])(?=[A-ZÆØÅÄÖÜ])")  # of camelCase
_AGE = re.compile(
    r"(?:\b|_)(?:age|alder|ålder|alter)\w*\s*(?:<\s*1[0-8]|<=?\s*\d\b|<=\s*1[0-7]|=\s*(?:\d|1[0-7]))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A word of an audience that may reveal a special category, or minors."""

    audience: str
    where: str  # "name", "title" or "condition"
    word: str
    category: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.audience}: `{self.word}` in its {self.where} may reveal {self.category} "
            f"({self.reason}); choose others, or write why it does not: "
            f"acknowledged: {{{self.category}: …}}"
        )


def hints(project: Project, audience: str | None = None) -> list[Hint]:
    """What the audiences' words hint at and nobody has acknowledged, each category once."""
    return [
        hint
        for found in project.audiences.values()
        if audience in (None, found.name)
        for hint in _hints_of(found)
    ]


def _hints_of(audience: Audience) -> Iterator[Hint]:
    seen: set[str] = set(audience.acknowledged)
    texts = {"name": audience.name, "title": audience.title, "condition": audience.where or ""}
    for where, text in texts.items():
        for category, word in told_by(text):
            if category not in seen:
                seen.add(category)
                reason = _listed()[category]["reason"]
                yield Hint(
                    audience=audience.name,
                    where=where,
                    word=word,
                    category=category,
                    reason=reason,
                )


def told_by(text: str) -> Iterator[tuple[str, str]]:
    """The categories that the words of a text hint at, each with the word."""
    words = [word.lower() for word in _WORD.findall(_HUMP.sub(" ", text))]
    phrases = [*words, *(f"{one}-{two}" for one, two in pairwise(words))]
    for category, pattern in _patterns().items():
        found = next((phrase for phrase in phrases if pattern.fullmatch(phrase)), None)
        if found is None and category == "minors" and (aged := _AGE.search(text)):
            found = aged.group()
        if found is not None:
            yield category, found


@cache
def _listed() -> Mapping[str, Any]:
    text = files("audience_sync.project").joinpath("sensitive.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    """One expression for each category; a star at the end stands for any ending."""
    found = {}
    for category, listed in _listed().items():
        words = {word for of_language in listed["words"].values() for word in of_language}
        expressions = (re.escape(word).replace(r"\*", r"[\w-]*") for word in sorted(words))
        found[category] = re.compile("|".join(expressions))
    return found
