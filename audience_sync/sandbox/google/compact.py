"""A quick way to read the usual request: thousands of members of a few shapes, all hashes in hex.

The hashes are lifted out of the body as one block; what remains of the members repeats itself, so
that each different shape is parsed and checked once. Anything unusual makes `read` answer None, and
the request is then read in full.
"""

from __future__ import annotations

import json
from itertools import chain, compress, repeat
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from audience_sync.sandbox.google import fields, members
from audience_sync.sandbox.google.errors import GoogleError
from audience_sync.sandbox.google.members import HASH_OF_NOTHING, HEX_LENGTH, Batch
from audience_sync.sandbox.membership import Column

SMALLEST = 100  # members; fewer are read in full
MAXIMUM_SHAPES = 100
_START = b'"audienceMembers":['
_SAMPLE = b'"' + b"0" * HEX_LENGTH + b'"'
_HEX = b"0123456789abcdef"


class _Shape(NamedTuple):
    name: str
    kinds: tuple[str, ...]


def read(body: bytes) -> tuple[dict[str, Any], Batch] | None:
    """The request without its members, and the members; None for anything unusual."""
    begin = body.find(_START) + len(_START)
    if begin < len(_START) or len(body) < SMALLEST * HEX_LENGTH:
        return None
    skeleton, hashes = _lift(body[begin:])
    parted = _part(skeleton)
    if parted is None or hashes.translate(None, _HEX) or HASH_OF_NOTHING.encode() in hashes:
        return None
    first, pieces, tail = parted
    shapes = _shapes(first, pieces)
    batch = _batch([shapes[piece] for piece in pieces], hashes.decode()) if shapes else None
    try:
        request = orjson.loads(body[:begin] + tail)
    except orjson.JSONDecodeError:
        return None
    return (request, batch) if batch is not None and request.get("encoding") == "HEX" else None


def _lift(text: bytes) -> tuple[bytes, bytes]:
    """Take every text of 64 characters out; what remains, and the texts one after another."""
    letters = np.frombuffer(text, dtype=np.uint8)
    quotes = np.flatnonzero(letters == ord('"'))
    starts = quotes[:-1][np.diff(quotes) == HEX_LENGTH + 1] + 1
    keep = np.ones(len(letters), dtype=np.bool_)
    places: NDArray[np.int64] = starts[:, None] + np.arange(HEX_LENGTH)
    keep[places] = False
    return letters[keep].tobytes(), letters[places].tobytes()


def _part(skeleton: bytes) -> tuple[bytes, list[bytes], bytes] | None:
    """How every member begins, how each goes on, and the request from the closing bracket on."""
    first = skeleton[: skeleton.find(b":")]  # such as {"compositeData"
    pieces = skeleton.split(b"," + first) if first.startswith(b'{"') else []
    if len(pieces) < SMALLEST:
        return None
    pieces[0] = pieces[0][len(first) :]
    last = (first + pieces[-1]).decode("utf-8", "replace")
    try:
        end = json.JSONDecoder().raw_decode(last)[1]
    except ValueError:
        return None
    pieces[-1] = last[:end].encode()[len(first) :]
    tail = last[end:].encode()
    return (first, pieces, tail) if tail.startswith(b"]") else None


def _shapes(first: bytes, pieces: list[bytes]) -> dict[bytes, _Shape]:
    """The shape of each different member; empty when any is unusual or they are of two kinds."""
    different = set(pieces)
    if len(different) > MAXIMUM_SHAPES:
        return {}
    found = {piece: _shape(first + piece) for piece in different}
    usual = {piece: shape for piece, shape in found.items() if shape is not None}
    alike = len({shape.name for shape in usual.values()}) == 1
    return usual if alike and len(usual) == len(different) else {}


def _shape(piece: bytes) -> _Shape | None:
    """What a member without its hashes consists of, if it is nothing but hashes."""
    try:
        member = orjson.loads(piece.replace(b'""', _SAMPLE))
        fields.check(member, fields.MEMBER)
    except (orjson.JSONDecodeError, GoogleError):
        return None
    if len(member) != 1:
        return None
    name = next(iter(member))
    if name not in members.HASHED_SHAPES:
        return None
    cells, trouble = members.cells(name, member)
    if trouble is not None or any(value != "0" * HEX_LENGTH for _, value in cells):
        return None
    return _Shape(name, tuple(kind for kind, _ in cells))


def _batch(shapes: list[_Shape], hashes: str) -> Batch | None:
    lengths = [len(shape.kinds) for shape in shapes]
    if sum(lengths) * HEX_LENGTH != len(hashes):
        return None  # an empty text, or a hash where none belongs
    ends = range(HEX_LENGTH, len(hashes) + 1, HEX_LENGTH)
    values = [hashes[end - HEX_LENGTH : end] for end in ends]
    if len(set(shapes)) == 1 and len(set(shapes[0].kinds)) == lengths[0]:
        every = range(len(shapes))
        columns = {
            kind: Column(values[at :: lengths[0]], every) for at, kind in enumerate(shapes[0].kinds)
        }
        return Batch(shapes[0].name, len(shapes), columns)
    kinds = list(chain.from_iterable(shape.kinds for shape in shapes))
    rows = list(chain.from_iterable(map(repeat, range(len(shapes)), lengths)))
    columns = {}
    for kind in members.KINDS.values():
        chosen = list(map(kind.__eq__, kinds))
        if any(chosen):
            columns[kind] = Column(list(compress(values, chosen)), list(compress(rows, chosen)))
    return Batch(shapes[0].name, len(shapes), columns)
