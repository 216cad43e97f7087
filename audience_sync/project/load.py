"""`audience-sync.yaml` → `Project`: every section is read, then held against the others.

All that is wrong is told at once, each with file, line, key and remedy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from audience_sync.project.audiences import Defaults, read_audiences, read_orders
from audience_sync.project.canaries import CANARIES, CanarySection, check_canaries
from audience_sync.project.crosschecks import check_policy
from audience_sync.project.destinations import read_destinations
from audience_sync.project.document import Findings, Place, read_document
from audience_sync.project.entries import Entries, Installed
from audience_sync.project.model import Project
from audience_sync.project.privacy import Approval, RecordsSection, Retention
from audience_sync.project.references import References, secret_places
from audience_sync.project.sections import OWN_ORIGINS, Guards, Policy, ProjectFile, ProjectHead
from audience_sync.project.source import Decisions, Source
from audience_sync.project.webhooks import WEBHOOKS, Webhooks, check_senders, check_webhooks
from audience_sync.project.withdrawals import WithdrawalsSection
from audience_sync.project.wording import nearest

_READ = ("source", "decisions", "orders", "policy")  # sections that only reading proves right


def load_project(
    path: Path,
    connectors: Installed,
    environ: Mapping[str, str] = os.environ,
    why: Callable[[str], str | None] = lambda _: None,
) -> Project:
    """Read a project file; one ConfigurationError tells all that is wrong in it.

    `connectors` are the installed ones by name, and `why` tells what is wrong with one that is
    installed and left out; `${VARIABLES}` are looked up in `environ`.
    """
    path = path.absolute()
    tree, findings = read_document(path)
    project = _project(Entries(tree, findings, References(findings, environ), connectors, why))
    findings.raise_if_any()
    assert project is not None  # noqa: S101 - no finding means that every section was read
    return project


def _project(entries: Entries) -> Project | None:
    _check_keys(entries)
    head = _head(entries)
    source = entries.readable("source", Source)
    has_log = entries.tree.get("decisions") is not None
    decisions = entries.readable("decisions", Decisions) if has_log else None
    guards = entries.optional("guards", Guards) or Guards()
    defaults = Defaults(guards, ZoneInfo("UTC") if head is None else head.timezone)
    policy = _policy(entries, source)
    destinations = read_destinations(entries)
    audiences = read_audiences(entries, source, defaults, destinations)
    orders = read_orders(entries, defaults, destinations, audiences)
    canaries = _canaries(entries, source)
    webhooks, webhooks_lack = _webhooks(entries)
    privacy = _privacy(entries)
    withdrawals = entries.optional("withdrawals", WithdrawalsSection) or WithdrawalsSection()
    if head is None or source is None:
        return None
    return Project(
        path=entries.findings.path,
        name=head.project,
        controller=head.controller,
        purpose=head.purpose,
        timezone=head.timezone,
        source=source,
        decisions=decisions,
        policy=policy,
        guards=guards,
        destinations=destinations,
        audiences=audiences,
        orders=orders,
        canaries=canaries,
        webhooks=webhooks,
        webhooks_lack=webhooks_lack,
        **privacy,
        withdrawals=withdrawals,
        report_threshold=head.report_threshold,
        lines=_lines(entries.findings),
    )


def _lines(findings: Findings) -> dict[str, int]:
    """Where stands what only reading proves right."""
    return {
        ".".join(map(str, place)): line
        for place, line in findings.lines.items()
        if len(place) > 1 and (place[0] in _READ or place[-1] == "where")
    }


def _privacy(entries: Entries) -> dict[str, Any]:
    sections = {"approval": Approval, "retention": Retention, "records": RecordsSection}
    return {name: entries.optional(name, model) or model() for name, model in sections.items()}


def _check_keys(entries: Entries) -> None:
    known = ProjectFile.model_fields.keys()
    for key in entries.tree.keys() - known:
        entries.findings.add((key,), f"unknown key; {nearest(key, known)}")


def _head(entries: Entries) -> ProjectHead | None:
    written = {key: entries.tree[key] for key in ProjectHead.model_fields if key in entries.tree}
    return entries.validated(ProjectHead, entries.references.fill(written, ()), ())


def _canaries(entries: Entries, source: Source | None) -> dict[str, CanarySection]:
    found = {}
    for name, entry in entries.named(CANARIES).items():
        place: Place = (CANARIES, name)
        canary = entries.validated(CanarySection, entries.references.fill(entry, place), place)
        if canary is not None:
            found[name] = canary
    if source is not None:
        check_canaries(found, source.columns.kinds, entries.findings)
    return found


def _webhooks(entries: Entries) -> tuple[Webhooks | None, str]:
    """The section, and what is wrong with its secrets: only who serves it needs them."""
    written = entries.tree.get(WEBHOOKS)
    if written is None:
        return None, ""
    place: Place = (WEBHOOKS,)
    secrets = frozenset((WEBHOOKS, *steps) for steps in secret_places(Webhooks, written))
    lack = entries.findings.aside()
    filled = replace(entries.references, absent=lack).fill(written, place, secrets)
    found = entries.validated(Webhooks, filled, place)
    if found is not None:
        check_webhooks(found, entries.connectors, entries.findings)
        check_senders(found, lack)
    return found, lack.told()


def _policy(entries: Entries, source: Source | None) -> Policy:
    policy = entries.optional("policy", Policy) or Policy()
    if source is None:
        return policy
    check_policy(policy, source, entries.findings)
    if policy.origins is None and source.columns.origin is not None:
        return policy.model_copy(update={"origins": OWN_ORIGINS})
    return policy
