"""Proves that the forms write their published vectors, before anything is sent (law L14)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from audience_sync.errors import StateError
from audience_sync.identifiers import forms
from audience_sync.identifiers.forms import Form
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.phones import FEW
from audience_sync.identifiers.writing import write_forms

_OF_EACH_FAMILY = (Kind.EMAIL, Kind.PHONE, Kind.IDFA, Kind.EXTERNAL_ID)


def self_test(names: Collection[str] | None = None) -> None:
    """Write every published vector the way customers are written; a difference is a StateError.

    Of all forms, or of those named. Run at start-up with the forms in use: a rule that changed
    without a new version would leave people on lists.
    """
    for kind in _OF_EACH_FAMILY:
        tested = [
            found
            for found in forms.FORMS.values()
            if found.takes(kind) and (names is None or found.name in names)
        ]
        if tested:
            _test(kind, tested)


def _test(kind: Kind, tested: Sequence[Form]) -> None:
    vectors = [vector for found in tested for vector in found.vectors]
    # Phones often enough to be settled in columns; alone they are settled one by one.
    for repeats in (1, FEW) if kind is Kind.PHONE else (1,):
        columns = {
            kind.value: [vector.value for vector in vectors] * repeats,
            "country": [vector.country for vector in vectors] * repeats,
        }
        frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
        wanted = [(kind, found.name) for found in tested]
        written = write_forms(frame, wanted, default_country=None)
        start = 0
        for found in tested:
            rows = written[kind, found.name][start : start + len(found.vectors)]
            start += len(found.vectors)
            _compare(found, [row.tobytes() for row in rows])


def _compare(tested: Form, written: Sequence[bytes]) -> None:
    for number, (vector, found) in enumerate(zip(tested.vectors, written, strict=True), start=1):
        if found != _expected(tested, vector):
            raise StateError(
                f"the form {tested.versioned} does not write its published vector {number} as it"
                " should; reinstall audience-sync before anything is sent"
            )


def _expected(tested: Form, vector: forms.Vector) -> bytes:
    if tested.hashed:
        return bytes.fromhex(vector.sha256 or "00" * tested.width)
    return bytes.fromhex((vector.text or "00" * tested.width).replace("-", ""))
