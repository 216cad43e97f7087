"""A YAML file as plain values that remember their lines, and the findings about them.

Only what YAML 1.2 calls plain is understood: `no` is the country of Norway, not a Boolean, and
`0 3 * * *` is never a number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from audience_sync.errors import ConfigurationError

Step = str | int
Place = tuple[Step, ...]  # keys and list positions from the top of the file

_TAG = "tag:yaml.org,2002:"
_MAXIMUM_VALUES = 100_000  # a file that unfolds to more by its aliases is an accident or an attack
_MAXIMUM_DEPTH = 20
_QUICK = 20_000  # characters; what is longer may be nested so deep that libyaml would crash
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]+([eE][-+]?[0-9]+)?")
_QUOTED = re.compile(r"'[^']{2,}'")  # the parser quotes what it read, which may be a secret


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, and what would be right."""

    line: int
    place: Place
    text: str


@dataclass
class Findings:
    """All that is wrong in a file, told at once; `hidden` values are cut from every sentence."""

    path: Path
    lines: dict[Place, int] = field(default_factory=dict)
    found: list[Finding] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set, repr=False)

    def add(self, place: Sequence[Step], text: str) -> None:
        """Note that something is wrong at a place; a missing place counts for its parent's line."""
        known = tuple(place)
        while known and known not in self.lines:
            known = known[:-1]
        self.found.append(Finding(self.lines.get(known, 1), tuple(place), text))

    def concern(self, place: Sequence[Step]) -> bool:
        """Whether something is wrong at a place or below it."""
        start = tuple(place)
        return any(finding.place[: len(start)] == start for finding in self.found)

    def raise_if_any(self) -> None:
        """End with one ConfigurationError that has a line for each finding."""
        if self.found:
            raise ConfigurationError(self.told())

    def told(self) -> str:
        """A line for each finding; empty when nothing is wrong."""
        ordered = sorted(self.found, key=lambda finding: finding.line)
        return "\n".join(dict.fromkeys(self._sentence(finding) for finding in ordered))

    def aside(self) -> Findings:
        """Findings about the same file that do not stop whoever reads it."""
        return Findings(self.path, self.lines, hidden=self.hidden)

    def _sentence(self, finding: Finding) -> str:
        text = finding.text
        for value in sorted(self.hidden, key=len, reverse=True):
            text = text.replace(value, "…")
        dotted = ".".join(str(step) for step in finding.place)
        where = f"{self.path.name}:{finding.line}: "
        sentence = f"{where}{dotted}: {text}" if dotted else f"{where}{text}"
        return "".join(letter if letter.isprintable() else "?" for letter in sentence)


def read_document(path: Path) -> tuple[dict[str, Any], Findings]:
    """The file's values and a `Findings` that knows their lines; unreadable files raise at once."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: there is no project file; write one with `audience-sync init`"
        ) from None
    except (OSError, UnicodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeError) else error.strerror
        raise ConfigurationError(f"{path}: the project file cannot be read: {reason}") from None
    findings = Findings(path)
    try:
        root = _composed(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path.name}:{_explain(error)}") from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigurationError(
            f"{path.name}:1: the project file must be `key: value` lines; "
            "see `audience-sync init` for a commented one"
        )
    tree = _Reader(findings).value(root, ())
    return tree, findings


def _composed(text: str) -> yaml.Node | None:
    """As libyaml reads it, in a tenth of the time; what it refuses, the other parser explains."""
    quick = getattr(yaml, "CSafeLoader", None)  # not everywhere
    if quick is not None and len(text) < _QUICK:
        with suppress(yaml.YAMLError):
            return yaml.compose(text, Loader=quick)
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _explain(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = _QUOTED.sub("…", str(getattr(error, "problem", None) or "not text"))
    return f"{mark.line + 1 if mark else 1}: this is not YAML: {problem}; check indentation, quotes"


class _Reader:
    """Turns nodes into plain values and notes each value's line."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.read = 0

    def value(self, node: yaml.Node, place: Place) -> Any:
        self.findings.lines.setdefault(place, node.start_mark.line + 1)
        self.read += 1
        if self.read > _MAXIMUM_VALUES or len(place) > _MAXIMUM_DEPTH:
            raise ConfigurationError(
                f"{self.findings.path.name}:{node.start_mark.line + 1}: "
                "aliases unfold without end here; write the values out"
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*place, at)) for at, child in enumerate(node.value)]
        return self._scalar(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, child in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            here = (*place, key)
            line = key_node.start_mark.line + 1
            if key in values:
                first = self.findings.lines[here]
                self.findings.found.append(
                    Finding(line, here, f"is written twice, first in line {first}; keep one")
                )
                continue
            self.findings.lines[here] = line
            values[key] = self.value(child, here)
        return values

    def _scalar(self, node: yaml.Node, place: Place) -> str | int | float | bool | None:
        text = str(node.value)
        if not node.tag.startswith(_TAG):
            self.findings.add(place, "tags such as !name have no meaning here; write the value")
            return text
        if getattr(node, "style", None):  # quoted or block: always text
            return text
        return _plain(text)


def _plain(text: str) -> str | int | float | bool | None:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text) and len(text) < 19:  # noqa: PLR2004 - fits 64 bits
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
