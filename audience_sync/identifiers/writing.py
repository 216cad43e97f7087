"""Customers' raw identifiers to the identifiers that partners receive, each form once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import polars as pl

from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.digests import Bytes, decoded, device_bytes, digests
from audience_sync.identifiers.forms import IDENTITY_FORMS, form_for
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.phones import to_e164
from audience_sync.identifiers.texts import (
    canonical_devices,
    fold_gmail,
    plain_emails,
    plain_external_ids,
)

Wanted = tuple[Kind, str]


def write_forms(
    frame: pl.DataFrame,
    wanted: Sequence[Wanted],
    *,
    default_country: str | None,
    hashed: Mapping[Kind, str] | None = None,
) -> dict[Wanted, Bytes]:
    """Write each wanted kind in its form: an array of shape (rows, width), zeros for none.

    A column is named like its kind; a missing one gives zeros. `hashed` tells of which kinds the
    source holds SHA-256 already (hex or base64), and in which form; they are decoded.
    """
    declared = hashed or {}
    for kind, name in wanted:
        require_form(kind, name, declared)
    columns = {
        kind: _Column(frame, kind, default_country)
        for kind, _ in wanted
        if kind.value in frame.columns and frame.height
    }
    out = {}
    # Backwards by name: email/plain before email/gmail-folded, which starts from it.
    for kind, name in sorted(set(wanted), reverse=True):
        if kind not in columns:
            out[kind, name] = np.zeros((frame.height, form_for(kind, name).width), dtype=np.uint8)
        elif kind in declared:
            out[kind, name] = columns[kind].declared
        else:
            out[kind, name] = _WRITERS[name](columns[kind])
    return out


def require_form(kind: Kind, wanted_form: str, hashed: Mapping[Kind, str]) -> None:
    """Refuse a form that the kind cannot have, or that the source's hashes were not made by."""
    wanted = form_for(kind, wanted_form)
    if kind not in hashed:
        return
    made = form_for(kind, hashed[kind])
    if not made.hashed:
        raise ConfigurationError(
            f"the source declares {kind.value} as hashed by {made.name}, which is not hashed;"
            " name the form that the hashes were made by"
        )
    if made.name != wanted.name:
        raise ConfigurationError(
            f"{kind.value} is wanted as {wanted.name} but the source holds hashes made by"
            f" {made.name}, which cannot be converted; give the source's raw column, or leave"
            f" {kind.value} out for this destination"
        )


def identity_form(kind: Kind, hashed: Mapping[Kind, str]) -> str:
    """The form that recognises a person by this kind: ours, or the one the source hashed by."""
    return hashed.get(kind, IDENTITY_FORMS[kind])


class _Column:
    """One kind's column of a batch, with what several of its forms share."""

    def __init__(self, frame: pl.DataFrame, kind: Kind, default_country: str | None) -> None:
        self.values = _texts(frame, kind.value)
        self.countries = _texts(frame, "country") if "country" in frame.columns else None
        self.default_country = default_country

    @cached_property
    def emails(self) -> pl.Series:
        return plain_emails(self.values)

    @cached_property
    def plain(self) -> Bytes:
        return digests(self.emails)

    @cached_property
    def numbers(self) -> pl.Series:
        return to_e164(self.values, self.countries, self.default_country)

    @cached_property
    def devices(self) -> pl.Series:
        return canonical_devices(self.values)

    @cached_property
    def declared(self) -> Bytes:
        return decoded(self.values)

    def folded(self) -> Bytes:
        """Most addresses are equal in both e-mail forms; only those that change are hashed anew."""
        rows, emails = fold_gmail(self.emails)
        if "plain" not in self.__dict__:
            return digests(self.emails.clone().scatter(rows, emails))  # scatter writes in place
        out = self.plain.copy()
        out[rows.to_numpy()] = digests(emails)
        return out


_WRITERS: Mapping[str, Callable[[_Column], Bytes]] = {
    "email/plain": lambda column: column.plain,
    "email/gmail-folded": _Column.folded,
    "phone/e164": lambda column: digests(column.numbers),
    "phone/digits": lambda column: digests(column.numbers.str.slice(1)),
    "device/lower": lambda column: digests(column.devices),
    "device/raw": lambda column: device_bytes(column.devices),
    "external-id/plain": lambda column: digests(plain_external_ids(column.values)),
}


def _texts(frame: pl.DataFrame, name: str) -> pl.Series:
    column = frame[name]
    return column if column.dtype == pl.String else column.cast(pl.String, strict=False)
