"""What the project file says about sources, decisions and policy, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audience_sync.period import Period


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """Where customers are read from; `columns` maps our names to theirs.

    `url` is an SQLAlchemy URL, or a path, glob or object-storage URL of files; relative paths
    resolve against `base`. It may hold a password, so it is left out of the representation.
    """

    url: str = field(repr=False)
    columns: Mapping[str, str]
    base: Path
    query: str | None = None
    table: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionsDescription:
    """Where decisions are read from; unmapped names of ours are looked up under the same name."""

    url: str = field(repr=False)
    base: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    query: str | None = None
    table: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRules:
    """The rules that turn attributes and decisions into a verdict; None switches a rule off."""

    consent_max_age: Period | None = None
    keep_after_last_activity: Period | None = None
    minimum_age: int | None = None  # years
    origins: tuple[str, ...] | None = None
    default_country: str | None = None
