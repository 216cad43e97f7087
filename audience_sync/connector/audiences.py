"""A list at a partner, a batch on its way to it, and what the partner tells of the list."""

from __future__ import annotations

from dataclasses import dataclass

from audience_sync.identifiers.kinds import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What the members of an upload said, as partners ask for it; derived from decisions."""

    ad_user_data: bool
    ad_personalization: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceRequest:
    """The list that must exist at the partner.

    `marker` is text that only we write: a list that carries it in its description is ours (L15).
    """

    name: str
    title: str
    marker: str
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One batch on its way: where it goes and its place among the others.

    Batches of one operation travel in sessions: `session` is a positive 63-bit number, `sequence`
    counts from 1 without a gap, and the batch with `last` set is sent after all others of its
    session have been answered.
    """

    remote_id: str
    session: int
    sequence: int
    last: bool
    total: int  # members in the whole session
    consent: Consent | None = None  # None when members are removed
    afresh: bool = False  # the first upload to a list of ours that we know nobody on any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the partner tells of a list: a size range, a match-rate range, its state in words."""

    size_lower: int | None = None
    size_upper: int | None = None
    match_range: str | None = None
    status: str | None = None
    usable: bool | None = None
