"""What only shows when one part of the project file is held against another."""

from __future__ import annotations

from collections.abc import Sequence

from audience_sync.identifiers.kinds import Kind
from audience_sync.project.document import Findings, Step
from audience_sync.project.forms import form_names, is_hashed_form
from audience_sync.project.sections import (
    OrdersSection,
    Policy,
)
from audience_sync.project.source import FILE_SUFFIXES, Decisions, Source
from audience_sync.project.wording import nearest


def check_readable(
    section: Source | Decisions | OrdersSection, place: Sequence[Step], findings: Findings
) -> None:
    """A database is asked by `query` or `table`; files are read whole."""
    asked = [key for key in ("query", "table") if getattr(section, key) is not None]
    url = section.url.get_secret_value()
    if not url:
        if not findings.concern((*place, "url")):
            findings.add((*place, "url"), "is empty; write a SQLAlchemy URL or a path")
    elif section.is_sql and len(asked) != 1:
        findings.add(
            (*place, asked[-1]) if asked else place,
            "a database needs either query: SELECT … or table: name",
        )
    elif not section.is_sql and asked:
        findings.add(
            (*place, asked[0]), "belongs to a database; files are read whole, take this key out"
        )
    elif not section.is_sql and not url.partition("?")[0].lower().endswith(FILE_SUFFIXES):
        findings.add(
            (*place, "url"),
            f"files end in one of {' '.join(FILE_SUFFIXES)}; a database's URL has ://",
        )


def check_hashed(source: Source, findings: Findings) -> None:
    """A kind that is declared as hashed is mapped, and made by a form that we know."""
    for name, form in source.hashed.items():
        kind, place = Kind(name), ("source", "hashed", name)
        if kind not in source.columns.kinds:
            findings.add(place, f"map its column too: source.columns.{name}: their_column")
        known = [known for known in form_names(kind) if is_hashed_form(known)]
        if form not in known:
            findings.add(place, f"there is no hashed form of this name; {nearest(form, known)}")


def check_policy(policy: Policy, source: Source, findings: Findings) -> None:
    """A rule whose column is not mapped could only drop everybody or nobody."""
    for rule, column in (
        ("consent_max_age", "consent_at"),
        ("keep_after_last_activity", "last_activity_at"),
        ("minimum_age", "birth_date"),
        ("origins", "origin"),
    ):
        if getattr(policy, rule) is not None and getattr(source.columns, column) is None:
            findings.add(
                ("policy", rule),
                f"needs a column; map source.columns.{column}: their_column, or take the rule out",
            )
