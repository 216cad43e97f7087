"""How a request to a webhook is written: a template of JSON, filled in without a loop over people.

Placeholders are `{{words}}` in texts. One that is the whole text keeps its type, so that
`"{{count}}"` becomes a number and `"{{members}}"` the members themselves.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from audience_sync.connector import AudienceRequest, Cell, Kind, Upload

Missing = Literal["omit", "null", "empty"]

WIDEST = 64  # characters of an identifier: SHA-256 in hex
PROOF = 16  # characters
WORDS = (
    *("operation", "list", "title", "batch", "count"),
    *("ad_user_data", "ad_personalization", "members"),
)
ALONE = ("members", "ad_user_data", "ad_personalization")  # are no text
BODY: Mapping[str, Any] = {
    "operation": "{{operation}}",
    "list": "{{list}}",
    "title": "{{title}}",
    "batch": "{{batch}}",
    "consent": {
        "ad_user_data": "{{ad_user_data}}",
        "ad_personalization": "{{ad_personalization}}",
    },
    "members": "{{members}}",
}

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_HOLE = b"\x00"  # orjson never writes this byte, so it marks a place surely
_NONE: Mapping[Missing, bytes | None] = {"omit": None, "null": b"null", "empty": b'""'}


@dataclass(frozen=True, slots=True)
class Row:
    """How one member is written: the text around it, and a cell for each kind."""

    before: bytes
    after: bytes
    cells: tuple[Cell, ...]

    def longest(self, kinds: Collection[Kind]) -> int:
        """Bytes of a row that has all of these kinds and no other, with its comma."""
        cells = sum(
            len(cell.before) + WIDEST + len(cell.after) + 1
            if cell.kind in kinds
            else len(cell.none) + 1
            if cell.none is not None
            else 0
            for cell in self.cells
        )
        return len(self.before) + cells + len(self.after)


def words_of(upload: Upload, operation: str, part: int) -> dict[str, Any]:
    """What stands in the body of one request; the batch's name depends on its place alone."""
    place = f"{upload.remote_id}\n{operation}\n{upload.session}\n{upload.sequence}\n{part}"
    words: dict[str, Any] = {
        "list": upload.remote_id,
        "batch": hashlib.sha256(place.encode()).hexdigest()[:32],
    }
    if upload.consent is not None:
        words["ad_user_data"] = upload.consent.ad_user_data
        words["ad_personalization"] = upload.consent.ad_personalization
    return words


def list_id(audience: AudienceRequest) -> str:
    """The id of a list of ours: its name to be read, and a proof of its marker to tell it apart."""
    name = re.sub(r"[^a-z0-9]+", "-", audience.name.lower()).strip("-")[:64]
    return f"{name}-{hashlib.sha256(audience.marker.encode()).hexdigest()[:PROOF]}"


def check_body(body: Mapping[str, Any]) -> None:
    """A ValueError says what is wrong with the template of a body."""
    found = [word for text in _texts(body) for word in _PLACEHOLDER.findall(text)]
    unknown = sorted(set(found) - set(WORDS))
    if unknown:
        raise ValueError(f"there is no {{{{{unknown[0]}}}}}; there are {', '.join(WORDS)}")
    whole = [_whole(text) for text in _texts(body)]
    if found.count("members") != 1:
        raise ValueError('write "{{members}}" once')
    for word in ALONE:
        if found.count(word) != whole.count(word):
            raise ValueError(f'write "{{{{{word}}}}}" alone in its quotes')


def filled(body: Mapping[str, Any], words: Mapping[str, Any], rows: bytes) -> bytes:
    """The body with these words, and these rows as its members."""
    members = orjson.Fragment(b"[" + rows + b"]")
    return orjson.dumps(_replaced(body, {**words, "members": members}))


def row_of(member: Any, missing: Missing) -> Row:
    """How a member is written; a ValueError says what is wrong with its template.

    Without a template it is an object with the kinds as its keys.
    """
    if member is None:
        member = {kind.value: f"{{{{{kind.value}}}}}" for kind in Kind}
    if isinstance(member, dict):
        constant = {key: entry for key, entry in member.items() if not _kinds(entry)}
        varying = {key: entry for key, entry in member.items() if key not in constant}
        cells = [_cell(entry, orjson.dumps(key) + b":", missing) for key, entry in varying.items()]
        start = orjson.dumps(constant)[:-1] + (b"," if constant else b"")
        return _checked(Row(start, b"}", tuple(cells)))
    if isinstance(member, list):
        bare = any(isinstance(entry, str) for entry in member)
        if bare and missing == "omit" and len(member) > 1:
            raise ValueError("say by `missing: null` or `missing: empty` what stands for none")
        return _checked(Row(b"[", b"]", tuple(_cell(entry, b"", missing) for entry in member)))
    return _checked(Row(b"", b"", (_cell(member, b"", "omit"),)))


def _cell(entry: Any, prefix: bytes, missing: Missing) -> Cell:
    """One entry of a member: the text before and after its only identifier."""
    kinds = _kinds(entry)
    if len(kinds) != 1:
        raise ValueError("each entry of a member holds one identifier, such as {{email}}")
    text = orjson.dumps(_replaced(entry, {kinds[0].value: orjson.Fragment(_HOLE)}))
    before, _, after = text.partition(_HOLE)
    none = _NONE[missing]
    return Cell(
        kinds[0],
        prefix + before + b'"',
        b'"' + after,
        None if none is None else prefix + before + none + after,
    )


def _checked(row: Row) -> Row:
    kinds = [cell.kind for cell in row.cells]
    if not kinds or len(set(kinds)) < len(kinds):
        raise ValueError("a member holds each kind of identifier once, and at least one")
    return row


def _kinds(entry: Any) -> list[Kind]:
    """The kinds that stand in an entry, each alone in its quotes."""
    found = []
    for text in _texts(entry):
        for word in _PLACEHOLDER.findall(text):
            if word not in {kind.value for kind in Kind} or _whole(text) is None:
                known = ", ".join(Kind)
                raise ValueError(f"a member holds {known}, each alone in its quotes, not {word}")
            found.append(Kind(word))
    return found


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        for key, child in tree.items():
            if _PLACEHOLDER.search(key):
                raise ValueError("a key is written as it stands; put placeholders into values")
            yield from _texts(child)
    elif isinstance(tree, Sequence):
        for child in tree:
            yield from _texts(child)


def _whole(text: str) -> str | None:
    found = _PLACEHOLDER.fullmatch(text)
    return found[1] if found else None


def _replaced(tree: Any, words: Mapping[str, Any]) -> Any:
    if isinstance(tree, str):
        whole = _whole(tree)
        if whole is not None:
            return words[whole]
        return _PLACEHOLDER.sub(lambda found: str(words[found[1]]), tree)
    if isinstance(tree, Mapping):
        return {key: _replaced(child, words) for key, child in tree.items()}
    if isinstance(tree, Sequence):
        return [_replaced(child, words) for child in tree]
    return tree
