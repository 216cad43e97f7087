"""What a plan aims at: the lists to compare, and the scratch space that it works in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from audience_sync.customers.description import DecisionsDescription, PolicyRules, SourceDescription
from audience_sync.identifiers.forms import IDENTITY_FORMS
from audience_sync.identifiers.kinds import Kind
from audience_sync.membership.crossing import Denials, denials_path
from audience_sync.membership.guard import GuardLimits
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.membership.spill import Kept, Spill
from audience_sync.runs.canaries import Canary

FormOf = tuple[Kind, str]  # a kind in a form


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One audience at one destination, with all that planning needs to know of both.

    `partner` is the connector's name, which a decision may be limited to; `forms` holds the kinds
    that this audience sends there. A `retired` list is one that the project no longer names: nobody
    is wanted on it any more.
    """

    audience: str
    destination: str
    partner: str
    where: str | None  # None selects every customer
    forms: Mapping[Kind, str]
    batch_size: int
    most_identifiers: int  # of one member
    guards: GuardLimits
    holdout: float = 0.0
    expired_before: datetime | None = None
    refreshed_before: datetime | None = None  # a list last sent whole before then is sent whole
    retired: bool = False
    canaries: tuple[Canary, ...] = ()
    canaries_at: datetime | None = None  # the time that decides whose turn it is

    @property
    def name(self) -> str:
        """The name of the lease that protects this list."""
        return f"{self.audience}/{self.destination}"

    def is_due(self, refreshed_at: datetime | None) -> bool:
        """Whether the partner may soon forget members, so that everybody is sent again."""
        if self.refreshed_before is None or refreshed_at is None:
            return False
        return refreshed_at < self.refreshed_before


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which customers are read, and how they are judged.

    `partners` names all connectors that there are, synced now or not: a decision that is limited to
    one of them says nothing of the others, while one limited to a name that nobody knows might.
    """

    source: SourceDescription
    rules: PolicyRules
    decisions: DecisionsDescription | None = None
    hashed: Mapping[Kind, str] = field(default_factory=dict)
    partners: frozenset[str] = frozenset()

    @property
    def mapped(self) -> tuple[Kind, ...]:
        """The kinds that the source has a column for."""
        return tuple(kind for kind in Kind if kind.value in self.source.columns)

    def identity_form(self, kind: Kind) -> str:
        """The form that tells whether two values are of one person: the most folded one we have."""
        return self.hashed.get(kind, IDENTITY_FORMS[kind])


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Where a plan keeps what it works on; everything in it is encrypted and deleted afterwards."""

    location: StateLocation
    keyring: Keyring = field(repr=False)
    folder: str
    partitions: int

    def at(self, folder: str) -> Workspace:
        """Another folder's space; everything else is the same."""
        return replace(self, folder=folder)

    def spill(self, name: str) -> Spill:
        """A new spill in this space."""
        return Spill(self.location, self.path_of(name), self.keyring, self.partitions)

    def denials(self, kind: Kind, found: Kept | None = None) -> Denials:
        """Denials of one kind in this space, or those that were `found` in others."""
        return Denials(
            self.location,
            f"{self.folder}/{kind.value}",
            self.keyring,
            self.partitions,
            local=kind is Kind.EMAIL,
            found=found,
        )

    def denials_path(self, kind: Kind) -> str:
        """Where a kind's denials are kept."""
        return denials_path(f"{self.folder}/{kind.value}")

    def path_of(self, spill: str) -> str:
        """Where a spill of this space is kept."""
        return f"{self.folder}/{spill}.sealed"

    def clear(self) -> None:
        """Delete everything."""
        self.location.delete(self.folder)


def partner_groups(targets: Sequence[Target], *, by_partner: bool) -> dict[str, int]:
    """Which group of decisions each partner belongs to.

    One group is enough unless decisions may be limited to a partner.
    """
    partners = sorted({target.partner for target in targets})
    return {partner: index if by_partner else 0 for index, partner in enumerate(partners)}
